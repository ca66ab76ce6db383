"""The state machine of endpoints: every row of the contract's table, and the words for entities."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from penstock.domain.endpoint import (
    MAX_ENTITIES,
    ConfigUpdate,
    Deployment,
    Endpoint,
    EntityStatus,
    begin_update,
    check_config,
    checks_of,
    complete,
    entity_status,
    fail,
    is_ready,
    stop,
    switch,
)
from penstock.domain.errors import CallerError, InvalidParameterValue, ResourceConflict
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.traffic import Route
from unit.builders import CHECK, empty_endpoint, entity, live, replicas, updating

V1, V2 = entity("1"), entity("2")
CREATED = updating(empty_endpoint(), V1)
LIVE = live(V1)
UPDATING = updating(LIVE, V2)
WAITING = updating(LIVE, entity("", name="w", alias="champion", follow_alias=True))


def seen(endpoint: Endpoint, state: ReplicaState = ReplicaState.READY) -> list[Replica]:
    """The replicas of the active config."""
    return replicas(endpoint, endpoint.active, state) if endpoint.active else []


@pytest.mark.parametrize(
    ("endpoint", "is_serving", "update", "active", "pending"),
    [
        (empty_endpoint(), False, "NOT_UPDATING", None, None),
        (CREATED, False, "IN_PROGRESS", None, 1),
        (switch(CREATED), False, "IN_PROGRESS", None, 1),
        (complete(switch(CREATED)), True, "NOT_UPDATING", 1, None),
        (fail(CREATED, {"m-1": "boom"}), False, "UPDATE_FAILED", None, 1),
        (UPDATING, True, "IN_PROGRESS", 1, 2),
        (complete(switch(UPDATING)), True, "NOT_UPDATING", 2, None),
        (fail(UPDATING, {"m-2": "boom"}), True, "UPDATE_FAILED", 1, 2),
        (updating(fail(UPDATING, {"m-2": "boom"}), V2), True, "IN_PROGRESS", 1, 3),
        (updating(fail(CREATED, {"m-1": "boom"}), V1), False, "IN_PROGRESS", None, 2),
        (WAITING, True, "IN_PROGRESS", 1, 2),
        (updating(WAITING, V2), True, "IN_PROGRESS", 1, 3),
        (stop(WAITING, 5), False, "NOT_UPDATING", 1, None),
        (stop(LIVE, 5), False, "NOT_UPDATING", 1, None),
        (updating(stop(LIVE, 5), V1), True, "IN_PROGRESS", 1, 2),
    ],
    ids=[
        "create without config",
        "create with config",
        "v1 being switched to",
        "v1 ready",
        "v1 failed",
        "new config",
        "v2 ready",
        "v2 failed",
        "new attempt after v2 failed",
        "new attempt after v1 failed",
        "v2 waits for a model",
        "v3 in place of v2 that waited",
        "stopped while v2 waited",
        "stopped",
        "started again",
    ],
)
def test_rows_of_the_state_machine(
    endpoint: Endpoint, is_serving: bool, update: str, active: int | None, pending: int | None
) -> None:
    assert is_ready(endpoint, seen(endpoint)) is is_serving
    assert endpoint.update.value == update
    assert (endpoint.active and endpoint.active.version) == active
    assert (endpoint.pending and endpoint.pending.version) == pending


def test_a_config_put_while_an_update_runs_is_a_conflict() -> None:
    for endpoint in (CREATED, UPDATING, switch(UPDATING)):
        with pytest.raises(ResourceConflict, match="IN_PROGRESS"):
            begin_update(endpoint, [V2], [Route("m-2", 100)], 9)


def test_a_new_attempt_forgets_why_the_last_one_failed() -> None:
    again = updating(fail(UPDATING, {"m-2": "boom"}), V2)
    assert again.failures == {}
    assert again.switching is False


def test_an_endpoint_is_ready_only_if_every_entity_has_a_ready_replica() -> None:
    endpoint = live(V1, V2, routes=(Route("m-1", 100), Route("m-2", 0)))
    first, second = seen(endpoint)
    assert is_ready(endpoint, [first, second])
    assert not is_ready(endpoint, [first])
    assert not is_ready(endpoint, [first, replace(second, state=ReplicaState.DRAINING)])
    assert not is_ready(endpoint, [first, replace(second, state=ReplicaState.RESTARTING)])


def test_gateways_route_by_the_pending_config_only_while_it_is_switched_to() -> None:
    assert UPDATING.routed == LIVE.active
    assert switch(UPDATING).routed == UPDATING.pending
    assert fail(switch(UPDATING), {}).routed == LIVE.active
    assert complete(switch(UPDATING)).routed == UPDATING.pending
    assert stop(LIVE, 5).routed is None


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [(UPDATING, ResourceConflict), (empty_endpoint(), CallerError), (fail(CREATED, {}), CallerError)],
    ids=["while updating", "without config", "never live"],
)
def test_what_cannot_be_stopped(endpoint: Endpoint, error: type[Exception]) -> None:
    with pytest.raises(error):
        stop(endpoint, 9)


CREATING = "Creating resources for served entity."


@pytest.mark.parametrize(
    ("endpoint", "which", "states", "expected"),
    [
        (CREATED, "pending", [], EntityStatus(Deployment.CREATING, CREATING)),
        (CREATED, "pending", ["starting"], EntityStatus(Deployment.CREATING, CREATING, starting=1)),
        (CREATED, "pending", ["ready"], EntityStatus(Deployment.READY, "", ready=1)),
        (fail(CREATED, {"m-1": "boom"}), "pending", [], EntityStatus(Deployment.FAILED, "boom")),
        (fail(CREATED, {"m-1": "boom"}), "pending", ["draining"], EntityStatus(Deployment.FAILED, "boom", draining=1)),
        (LIVE, "active", ["ready"], EntityStatus(Deployment.READY, "", ready=1)),
        (UPDATING, "active", ["ready"], EntityStatus(Deployment.READY, "", ready=1)),
        (fail(UPDATING, {"m-2": "boom"}), "active", ["ready"], EntityStatus(Deployment.READY, "", ready=1)),
        (LIVE, "active", ["ready", "restarting"], EntityStatus(Deployment.READY, "", ready=1, starting=1)),
        (
            stop(LIVE, 5),
            "active",
            ["draining"],
            EntityStatus(Deployment.ABORTED, "The endpoint is stopped.", draining=1),
        ),
    ],
)
def test_what_is_said_of_one_entity(endpoint: Endpoint, which: str, states: list[str], expected: EntityStatus) -> None:
    config = endpoint.pending if which == "pending" else endpoint.active
    assert config is not None
    spec = replicas(endpoint, config)[0].spec
    found = [Replica(spec, ReplicaState(state)) for state in states]
    assert entity_status(endpoint, config, config.entities[0], found) == expected


def test_an_entity_without_a_ready_replica_is_recovering_and_says_why() -> None:
    assert LIVE.active is not None
    why = "The process was killed by signal 9."
    times = {"ended_at_ms": 1_700_000_000_000, "retry_at_ms": 1_700_000_001_600}
    dead = replicas(LIVE, LIVE.active, ReplicaState.RESTARTING, message=why, deaths=4, **times)
    status = entity_status(LIVE, LIVE.active, V1, dead)
    story = f"{why} It has ended 4 times in a row. The next is started at 2023-11-14 22:13:21 UTC."
    assert status == EntityStatus(Deployment.RECOVERING, story, starting=1)
    again = [replace(replica, state=ReplicaState.STARTING) for replica in dead]
    story = f"{why} It has ended 4 times in a row. Another has been started."
    assert entity_status(LIVE, LIVE.active, V1, again).message == story
    back = [replace(replica, state=ReplicaState.READY, deaths=1) for replica in dead]
    story = f"At 2023-11-14 22:13:20 UTC a replica ended and was replaced. {why}"
    assert entity_status(LIVE, LIVE.active, V1, back) == EntityStatus(Deployment.READY, story, ready=1)
    assert entity_status(LIVE, LIVE.active, V1, []).deployment is Deployment.RECOVERING
    assert entity_status(LIVE, LIVE.active, V1, []).message


def test_when_one_entity_fails_the_others_are_aborted_with_a_message() -> None:
    both = updating(LIVE, entity("1"), entity("3"), routes=(Route("m-1", 50), Route("m-3", 50)))
    failed = fail(both, {"m-3": "boom"})
    assert failed.pending is not None
    statuses = [entity_status(failed, failed.pending, e, replicas(LIVE, LIVE.active)) for e in failed.pending.entities]
    assert [status.deployment for status in statuses] == [Deployment.ABORTED, Deployment.FAILED]
    assert all(status.message for status in statuses)


def test_a_pending_entity_that_shares_its_replicas_with_the_active_config_is_ready_at_once() -> None:
    shifted = updating(LIVE, V1, V2, routes=(Route("m-1", 90), Route("m-2", 10)))
    assert shifted.pending is not None
    found = replicas(LIVE, LIVE.active)
    statuses = [entity_status(shifted, shifted.pending, e, found) for e in shifted.pending.entities]
    assert [status.deployment for status in statuses] == [Deployment.READY, Deployment.CREATING]


def named(*names: str) -> list:
    """Entities of these names."""
    return [entity(name=name) for name in names]


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: check_config([], []), "served_entities: got none"),
        (lambda: check_config(named(*(f"e{i}" for i in range(16))), []), "served_entities: got 16; wanted at most 15"),
        (lambda: check_config(named("a", "b", "a"), []), "served_entities[2].name: 'a' is the name of another"),
        (lambda: check_config(named("a", "b"), []), "traffic_config: missing"),
        (lambda: check_config(named("a"), [Route("b", 100)]), "traffic_config.routes[0].served_entity_name"),
    ],
)
def test_a_config_that_does_not_fit_together_is_refused_by_field(check: Callable[[], object], told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        check()
    assert told in refused.value.message


def test_a_single_entity_gets_all_traffic_by_default() -> None:
    assert check_config([V1], []) == (Route("m-1", 100),)


def test_fifteen_entities_are_accepted() -> None:
    names = [f"e{i}" for i in range(MAX_ENTITIES)]
    routes = [Route(name, 100 if name == "e0" else 0) for name in names]
    assert check_config(named(*names), routes) == tuple(routes)


def test_every_update_gets_a_version_of_its_own_even_after_failures() -> None:
    endpoint = empty_endpoint()
    for version in (1, 2, 3):
        endpoint = fail(updating(endpoint, V1), {"m-1": "boom"})
        assert endpoint.pending is not None
        assert endpoint.pending.version == endpoint.last_version == version
        assert endpoint.update is ConfigUpdate.UPDATE_FAILED


def test_a_config_keeps_the_checks_of_its_models_however_its_update_ends() -> None:
    seen = replicas(UPDATING, UPDATING.pending, check=CHECK) + replicas(UPDATING, UPDATING.active)
    checks = checks_of(UPDATING, seen)
    assert checks == {"m-2": CHECK}
    done = complete(switch(UPDATING, checks))
    assert done.active is not None
    assert entity_status(done, done.active, V2, []).check == CHECK
    failed = fail(UPDATING, {"m-2": "boom"}, checks)
    assert failed.pending is not None
    assert entity_status(failed, failed.pending, V2, []).check == CHECK


def test_a_check_is_told_as_soon_as_a_replica_tells_it() -> None:
    assert UPDATING.pending is not None
    starting = replicas(UPDATING, UPDATING.pending, ReplicaState.STARTING)
    assert entity_status(UPDATING, UPDATING.pending, V2, starting).check is None
    told = replicas(UPDATING, UPDATING.pending, check=CHECK)
    assert entity_status(UPDATING, UPDATING.pending, V2, told).check == CHECK
