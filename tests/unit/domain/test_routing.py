"""The routing table: what of an endpoint gateways see, and when its version grows."""

from dataclasses import replace

import pytest

from penstock.domain.access import Principal, Scope, Token
from penstock.domain.endpoint import Endpoint, fail, stop, switch
from penstock.domain.limits import Limits
from penstock.domain.routing import Access, RoutedEntity, RoutedSession, RoutingTable, build_table, succeed
from penstock.domain.sessions import Session
from penstock.domain.sizing import Sizing, WorkloadSize
from penstock.domain.traffic import Route
from unit.builders import LIMITS, empty_endpoint, entity, live, specs_of, updating

LIVE = live(entity("1"))
UPDATING = updating(LIVE, entity("2"))


def table_of(*endpoints: Endpoint, limits: Limits = LIMITS) -> RoutingTable:
    """The table for these endpoints and nobody."""
    return build_table(endpoints, [], {}, limits, {})


def test_an_entity_is_routed_with_all_that_a_gateway_needs() -> None:
    own = {
        "PENSTOCK_REQUEST_TIMEOUT_S": "5",
        "PENSTOCK_QUEUE_SIZE": "3",
        "PENSTOCK_SPIN_US": "0",
        "PENSTOCK_REDACTED_COLUMNS": "ssn, name of card",
    }
    small, large = entity("1"), entity("2", sizing=Sizing(WorkloadSize.LARGE), environment=own)
    endpoint = live(small, large, routes=(Route("m-2", 90), Route("m-1", 10)))
    routed = table_of(endpoint).endpoints["x"]
    keys = [served.deployment_key(endpoint.id) for served in (small, large)]
    assert routed.config_version == 1
    assert routed.entities == (
        RoutedEntity(
            *("m-1", small.id, keys[0], (f"{keys[0]}-0",), 10, 297.0, 1000),
            spin_us=300,
            model_name="m",
            model_version="1",
        ),
        RoutedEntity(
            *("m-2", large.id, keys[1], (f"{keys[1]}-0", f"{keys[1]}-1"), 90, 5.0, 3),
            spin_us=0,
            model_name="m",
            model_version="2",
            redacted=("ssn", "name of card"),
        ),
    )


def test_the_slots_of_a_table_are_those_of_every_config_it_routes_by() -> None:
    expected = {spec.slot for spec in specs_of(UPDATING, UPDATING.active)}
    assert table_of(UPDATING, empty_endpoint("y")).slots() == expected
    assert table_of(switch(UPDATING)).slots() == {spec.slot for spec in specs_of(UPDATING, UPDATING.pending)}


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        (empty_endpoint(), "no config yet"),
        (updating(empty_endpoint(), entity()), "still in progress"),
        (fail(updating(empty_endpoint(), entity()), {"m-1": "boom"}), "first deployment failed"),
        (stop(LIVE, 5), "is stopped"),
        (stop(fail(UPDATING, {"m-2": "boom"}), 5), "is stopped"),
    ],
)
def test_an_endpoint_that_cannot_answer_is_routed_with_a_reason(endpoint: Endpoint, told: str) -> None:
    routed = table_of(endpoint).endpoints["x"]
    assert routed.entities == ()
    assert told in routed.reason
    assert "'x'" in routed.reason


def test_our_own_processes_keep_their_access_beside_that_of_principals() -> None:
    tokens = [Token("1", "ann", "d1"), Token("2", "eve", "own")]
    own = {"own": Access("replica", Scope.READ_MODELS)}
    access = build_table([], tokens, own, LIMITS, {}).access
    assert access == {"d1": Access("ann", Scope.ALL), "own": Access("replica", Scope.READ_MODELS)}


def test_sessions_are_kept_apart_from_tokens() -> None:
    session = Session("s1", "1", "ann", 0, 99)
    table = build_table(
        [], [Token("1", "ann", "d1")], {}, LIMITS, {}, [Principal("ann", ("team",))], sessions=[session]
    )
    assert table.access == {"d1": Access("ann", groups=("team",))}
    assert table.sessions == {"s1": RoutedSession(Access("ann", groups=("team",)), 99)}


def test_a_table_with_the_same_content_keeps_its_version() -> None:
    first = succeed(RoutingTable(version=7), table_of(LIVE))
    assert first.version == 8
    assert succeed(first, table_of(LIVE)) is first


@pytest.mark.parametrize(
    "content",
    [
        table_of(),
        table_of(UPDATING, empty_endpoint("y")),
        table_of(switch(UPDATING)),
        table_of(live(entity("1"), entity("2"), routes=(Route("m-1", 99), Route("m-2", 1)))),
        build_table([LIVE], [Token("1", "ann", "d1")], {}, LIMITS, {}),
        build_table([LIVE], [], {}, LIMITS, {}, sessions=[Session("s1", "1", "ann", 0, 99)]),
    ],
    ids=["endpoint gone", "endpoint more", "switched", "entity more", "token more", "session more"],
)
def test_a_table_with_other_content_gets_the_next_version(content: RoutingTable) -> None:
    first = succeed(RoutingTable(), table_of(LIVE))
    second = succeed(first, content)
    assert second.version == first.version + 1
    assert second.endpoints == content.endpoints


def test_an_update_in_progress_changes_nothing_that_is_routed() -> None:
    assert table_of(UPDATING).endpoints == table_of(LIVE).endpoints


def test_agents_may_ask_as_their_endpoints_creator_while_their_replicas_are_wanted() -> None:
    def agents(endpoint: Endpoint) -> list[Access]:
        return [access for access in table_of(endpoint).access.values() if access.scope is Scope.AGENT]

    assert {access.principal for access in agents(LIVE)} == {LIVE.creator}
    assert len(agents(UPDATING)) == len(agents(LIVE)) + 1
    assert agents(replace(LIVE, stopped=True)) == []
