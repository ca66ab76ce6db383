"""`plan` as a table: given an endpoint, its replicas and the gateways, expect these actions."""

from dataclasses import replace

import pytest

from penstock.domain.endpoint import Endpoint, complete, fail, stop, switch
from penstock.domain.planning import (
    Action,
    CompleteUpdate,
    FailUpdate,
    Routing,
    StartReplica,
    StopReplica,
    SwitchTraffic,
    plan,
)
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.routing import build_table
from penstock.domain.sizing import Sizing, WorkloadSize, WorkloadType
from penstock.domain.traffic import Route
from unit.builders import CHECK, LIMITS, empty_endpoint, entity, failed_update, live, replicas, specs_of, updating

DRAINING, READY = ReplicaState.DRAINING, ReplicaState.READY
RESTARTING, STARTING = ReplicaState.RESTARTING, ReplicaState.STARTING

TWO = entity("1", sizing=Sizing(WorkloadSize.MEDIUM))
CREATED = updating(empty_endpoint(), TWO)
LIVE = live(entity("1"))
UPDATING = updating(LIVE, entity("2"))
SWITCHING = switch(UPDATING)
DONE = complete(SWITCHING)
WAITING = updating(LIVE, entity("", name="w", alias="champion", follow_alias=True), now_ms=-9_000_000)
OLD = replicas(LIVE, LIVE.active)
NEW = replicas(UPDATING, UPDATING.pending)
FAILED_BEFORE = {"load_failed": True, "deaths": 3, "message": "boom"}
OTHER = [
    replace(r, spec=replace(r.spec, config_version=1)) for r in replicas(live(entity("7")), live(entity("7")).active)
]
AGAIN = updating(failed_update(UPDATING, {"m-2": "boom"}), entity("2"))
FIRST, SECOND = replicas(CREATED, CREATED.pending, check=CHECK)
SHIFTED = updating(
    live(entity("1"), entity("2"), routes=(Route("m-1", 50), Route("m-2", 50))),
    *(entity("1"), entity("2")),
    routes=(Route("m-1", 10), Route("m-2", 90)),
)
TOO_LATE_MS = 2000 + 1_200_000 + 1


def starts(endpoint: Endpoint, version: str = "pending") -> list[Action]:
    """The start of every replica of a config."""
    return [StartReplica(spec) for spec in specs_of(endpoint, getattr(endpoint, version))]


def stops(old: list[Replica]) -> list[Action]:
    """The stop of each of these."""
    return [StopReplica(replica.spec.slot) for replica in old]


def routed(*endpoints: Endpoint, settled: bool = True) -> Routing:
    """What gateways hold once the table for these endpoints was published."""
    return Routing(build_table(endpoints, [], {}, LIMITS, {}).slots(), is_settled=settled)


def in_state(seen: list[Replica], state: ReplicaState, **fields: object) -> list[Replica]:
    """The same replicas in another state."""
    return [replace(replica, state=state, **fields) for replica in seen]  # type: ignore[arg-type]


ROWS: dict[str, tuple[Endpoint | None, list[Replica], Routing, list[Action]]] = {
    "nothing to do for an endpoint without config": (empty_endpoint(), [], routed(), []),
    "create starts the first replica alone": (CREATED, [], routed(), [StartReplica(FIRST.spec)]),
    "the rest waits until it has told how its model is": (
        *(CREATED, in_state([FIRST], STARTING, check=None), routed()),
        [],
    ),
    "then the rest is started": (CREATED, [FIRST], routed(), [StartReplica(SECOND.spec)]),
    "while replicas start there is nothing to do": (CREATED, in_state([FIRST, SECOND], STARTING), routed(), []),
    "one of two ready is not enough": (CREATED, [FIRST, *in_state([SECOND], STARTING)], routed(), []),
    "a replica that is started again is waited for": (
        *(CREATED, [FIRST, replace(SECOND, state=RESTARTING, deaths=2)], routed()),
        [],
    ),
    "all ready switches traffic": (CREATED, [FIRST, SECOND], routed(), [SwitchTraffic()]),
    "all ready switches traffic, also while a table is on its way": (
        *(UPDATING, OLD + NEW, routed(LIVE, settled=False)),
        [SwitchTraffic()],
    ),
    "an update starts the new replicas and keeps the old": (UPDATING, OLD, routed(LIVE), starts(UPDATING)),
    "switched and settled completes the update": (SWITCHING, OLD + NEW, routed(SWITCHING), [CompleteUpdate()]),
    "switched and not settled waits": (SWITCHING, OLD + NEW, routed(SWITCHING, settled=False), []),
    "a death while switching does not fail the update": (
        *(SWITCHING, OLD + in_state(NEW, RESTARTING, load_failed=True, deaths=9), routed(SWITCHING, settled=False)),
        [],
    ),
    "after the update the old replicas are stopped": (DONE, OLD + NEW, routed(DONE), stops(OLD)),
    "old replicas stay while a gateway may still send to them": (
        *(DONE, OLD + NEW, routed(DONE, settled=False)),
        [],
    ),
    "old replicas stay while they are in the routing table": (DONE, OLD + NEW, routed(LIVE), []),
    "a replica that drains is not stopped again": (DONE, in_state(OLD, DRAINING) + NEW, routed(DONE), []),
    "a model that cannot be loaded fails the update": (
        *(UPDATING, OLD + in_state(NEW, RESTARTING, load_failed=True, message="ValueError: boom"), routed(LIVE)),
        [FailUpdate({"m-2": "ValueError: boom"})],
    ),
    "three deaths fail the update": (
        *(UPDATING, OLD + in_state(NEW, RESTARTING, deaths=3, message="killed"), routed(LIVE)),
        [FailUpdate({"m-2": "killed"})],
    ),
    "after a failure the new replicas are stopped and the old ones serve": (
        *(failed_update(UPDATING, {"m-2": "boom"}), OLD + NEW, routed(LIVE)),
        stops(NEW),
    ),
    "after a failure nothing is started again": (failed_update(UPDATING, {"m-2": "boom"}), OLD, routed(LIVE), []),
    "a dead slot of a live endpoint is filled": (LIVE, [], routed(LIVE), starts(LIVE, "active")),
    "a live endpoint whose replica restarts is left alone": (
        *(LIVE, in_state(OLD, RESTARTING, deaths=9, load_failed=True), routed(LIVE)),
        [],
    ),
    "a stopped endpoint's replicas are stopped": (stop(LIVE, 5), OLD, routed(stop(LIVE, 5)), stops(OLD)),
    "a stopped endpoint's replicas stay until gateways know": (
        *(stop(LIVE, 5), OLD, routed(stop(LIVE, 5), settled=False)),
        [],
    ),
    "a stopped endpoint starts nothing": (stop(LIVE, 5), [], routed(stop(LIVE, 5)), []),
    "what waits for a model starts nothing, and has no time limit": (WAITING, OLD, routed(LIVE), []),
    "a deleted endpoint's replicas are stopped": (None, OLD + NEW, routed(), stops(OLD + NEW)),
    "a deleted endpoint's replicas stay until gateways know": (None, OLD, routed(settled=False), []),
    "a change of traffic alone starts nothing": (
        *(SHIFTED, replicas(SHIFTED, SHIFTED.active), routed(SHIFTED)),
        [SwitchTraffic()],
    ),
    "a change of traffic alone stops nothing": (
        *(complete(switch(SHIFTED)), replicas(SHIFTED, SHIFTED.active), routed(switch(SHIFTED))),
        [],
    ),
    "a slot that still drains is not taken for a ready one": (
        UPDATING,
        OLD + in_state(NEW, DRAINING),
        routed(LIVE),
        [],
    ),
    "what drains from an earlier attempt does not fail a new one": (
        *(AGAIN, OLD + in_state(NEW, DRAINING, **FAILED_BEFORE), routed(LIVE)),
        [],
    ),
    "what an earlier attempt left behind makes room for the new one": (
        *(AGAIN, OLD + in_state(NEW, STARTING, **FAILED_BEFORE), routed(LIVE)),
        stops(NEW),
    ),
    "what an earlier attempt left behind stays while gateways may send to it": (
        *(AGAIN, OLD + in_state(NEW, STARTING, **FAILED_BEFORE), routed(LIVE, settled=False)),
        [],
    ),
    "what an earlier attempt left behind is used if it is ready after all": (
        *(AGAIN, OLD + in_state(NEW, READY, deaths=3), routed(LIVE)),
        [SwitchTraffic()],
    ),
    "what nobody wants is stopped once, however it stands": (
        *(UPDATING, OLD + in_state(OTHER, RESTARTING, **FAILED_BEFORE), routed(LIVE)),
        [*starts(UPDATING), *stops(OTHER)],
    ),
    "what nobody wants stays while gateways may send to it, however it stands": (
        *(UPDATING, OLD + in_state(OTHER, RESTARTING, **FAILED_BEFORE), routed(LIVE, settled=False)),
        starts(UPDATING),
    ),
}


@pytest.mark.parametrize(("endpoint", "seen", "routing", "expected"), ROWS.values(), ids=ROWS.keys())
def test_plan(endpoint: Endpoint | None, seen: list[Replica], routing: Routing, expected: list[Action]) -> None:
    assert list(plan(endpoint, seen, routing, 3000, LIMITS, {})) == expected


@pytest.mark.parametrize("seen", [[], in_state(NEW, STARTING), in_state(NEW, RESTARTING, deaths=2)])
def test_an_update_that_is_not_ready_in_time_is_given_up(seen: list[Replica]) -> None:
    in_time = plan(UPDATING, OLD + seen, routed(LIVE), TOO_LATE_MS - 1, LIMITS, {})
    assert not any(isinstance(action, FailUpdate) for action in in_time)
    (failure,) = [
        a for a in plan(UPDATING, OLD + seen, routed(LIVE), TOO_LATE_MS, LIMITS, {}) if isinstance(a, FailUpdate)
    ]
    assert list(failure.failures) == ["m-2"]
    assert "1200 s" in failure.failures["m-2"]


def test_an_update_that_became_ready_late_is_still_switched_to() -> None:
    assert plan(UPDATING, OLD + NEW, routed(LIVE), TOO_LATE_MS, LIMITS, {}) == (SwitchTraffic(),)


def test_a_failure_names_only_the_entities_that_failed() -> None:
    both = updating(LIVE, entity("2"), entity("3"), routes=(Route("m-2", 50), Route("m-3", 50)))
    second, third = replicas(both, both.pending, STARTING)
    seen = [*OLD, second, replace(third, state=RESTARTING, load_failed=True, message="boom")]
    assert plan(both, seen, routed(LIVE), TOO_LATE_MS, LIMITS, {}) == (FailUpdate({"m-3": "boom"}),)


def test_an_endpoint_made_anew_under_the_same_name_does_not_inherit_replicas() -> None:
    again = updating(replace(empty_endpoint(), id="f" * 32), entity("1"))
    actions = plan(again, OLD, routed(), 3000, LIMITS, {})
    assert list(actions) == [*starts(again), *stops(OLD)]


def test_failing_leaves_the_endpoint_where_the_table_says() -> None:
    failed = fail(UPDATING, {"m-2": "boom"})
    assert plan(failed, OLD, routed(failed), 3000, LIMITS, {}) == ()


def test_what_needs_a_gpu_is_not_started_where_there_is_none() -> None:
    """Neither a new config, which has failed, nor an active one, whose machine has lost its GPU."""
    with_gpu = entity("2", sizing=Sizing(workload_type=WorkloadType.GPU_SMALL))
    pending = updating(LIVE, with_gpu)
    failure = FailUpdate({"m-2": "workload_type GPU_SMALL needs 1 GPU; this machine has none."})
    assert plan(pending, OLD, routed(LIVE), 2000, LIMITS, {}) == (failure,)
    assert plan(live(with_gpu), [], routed(live(with_gpu)), 2000, LIMITS, {}) == ()
    (start,) = plan(pending, OLD, routed(LIVE), 2000, replace(LIMITS, gpus=1), {})
    assert isinstance(start, StartReplica)
    assert start.spec.gpus == 1
