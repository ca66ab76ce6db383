"""Events: what is told of a step from one state to the next, and that nothing is told twice."""

from dataclasses import replace

import pytest

from penstock.domain.access import Grant, GranteeKind, Level
from penstock.domain.endpoint import Endpoint, complete, fail, stop, switch
from penstock.domain.events import endpoint_events, replica_events
from penstock.domain.following import follow
from penstock.domain.replica import Replica, ReplicaState
from unit.builders import empty_endpoint, live, replicas, updating
from unit.domain.test_following import LIVE as FOLLOWING
from unit.domain.test_following import follower, leads

LIVE = live()
UPDATING = updating(LIVE, follower("2"))
MOVED = follow(FOLLOWING, leads("2"), 5, lambda: "2" * 32)
WAITING = updating(empty_endpoint(), follower(""))


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, empty_endpoint(), ["CREATED"]),
        (None, updating(empty_endpoint(), follower("1")), ["CREATED", "UPDATE_STARTED"]),
        (None, WAITING, ["CREATED", "UPDATE_STARTED", "WAITING_FOR_MODEL"]),
        (WAITING, follow(WAITING, leads("1"), 5, str), ["MODEL_FOUND"]),
        (WAITING, updating(WAITING, follower("1")), ["UPDATE_SUPERSEDED", "UPDATE_STARTED"]),
        (LIVE, UPDATING, ["UPDATE_STARTED"]),
        (UPDATING, switch(UPDATING), ["TRAFFIC_SWITCHED"]),
        (switch(UPDATING), complete(switch(UPDATING)), ["UPDATE_COMPLETED"]),
        (UPDATING, fail(UPDATING, {"e": "boom", "f": "bang"}), ["UPDATE_FAILED", "UPDATE_FAILED"]),
        (FOLLOWING, MOVED, ["ALIAS_MOVED", "UPDATE_STARTED"]),
        (FOLLOWING, follow(FOLLOWING, leads(""), 5, str), ["ALIAS_REMOVED"]),
        (FOLLOWING, updating(FOLLOWING, follower("2")), ["UPDATE_STARTED"]),
        (FOLLOWING, updating(FOLLOWING, replace(follower("1"), follow_alias=False)), ["PINNED", "UPDATE_STARTED"]),
        (LIVE, stop(LIVE, 5), ["STOPPED"]),
        (stop(LIVE, 5), updating(stop(LIVE, 5), follower("1")), ["STARTED", "UPDATE_STARTED"]),
        (LIVE, replace(LIVE, grants=(Grant(GranteeKind.USER, "b", Level.CAN_VIEW),)), ["PERMISSIONS_CHANGED"]),
        (LIVE, replace(LIVE, tags={"a": "b"}), []),
    ],
)
def test_what_is_told_of_an_endpoint(before: Endpoint | None, after: Endpoint, kinds: list[str]) -> None:
    events = endpoint_events(before, after, "ann")
    assert [event.kind.value for event in events] == kinds
    assert all(event.reason for event in events)
    assert endpoint_events(after, after, "ann") == ()


def test_reasons_say_who_and_why() -> None:
    assert [event.reason for event in endpoint_events(FOLLOWING, MOVED, "")] == [
        "models:/m@champion leads to version 2 now.",
        "By follow_alias. models:/m@champion leads to version 2 now.",
    ]
    (failed,) = endpoint_events(MOVED, fail(MOVED, {"e": "No such file: weights."}), "")
    assert (failed.entity, failed.config_version) == ("e", 2)
    assert failed.reason == "No such file: weights. Version 2 is not tried again until the alias moves."
    assert [event.reason for event in endpoint_events(LIVE, stop(LIVE, 5), "ann")] == ["Stopped by ann."]


(STARTING,) = replicas(LIVE, LIVE.active, ReplicaState.STARTING)
READY = replace(STARTING, state=ReplicaState.READY)
DEAD = replace(STARTING, state=ReplicaState.RESTARTING, deaths=1, message="killed by signal 9")
AGAIN = replace(DEAD, state=ReplicaState.STARTING)
DRAINING = replace(READY, state=ReplicaState.DRAINING)
ASLEEP = replace(READY, state=ReplicaState.ASLEEP)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, STARTING, ["REPLICA_STARTED"]),
        (None, READY, ["REPLICA_READY"]),
        (STARTING, READY, ["REPLICA_READY"]),
        (READY, DEAD, ["REPLICA_DIED"]),
        (DEAD, AGAIN, ["REPLICA_STARTED"]),
        (READY, AGAIN, ["REPLICA_DIED", "REPLICA_STARTED"]),
        (AGAIN, replace(DEAD, deaths=2), ["REPLICA_DIED"]),
        (DEAD, replace(READY, message=""), ["REPLICA_READY"]),
        (READY, DRAINING, ["REPLICA_STOPPED"]),
        (DRAINING, None, []),
        (READY, None, ["REPLICA_STOPPED"]),
        (READY, READY, []),
        (DRAINING, DRAINING, []),
        (DRAINING, ASLEEP, ["REPLICA_SLEPT"]),
        (None, ASLEEP, []),
        (ASLEEP, replace(STARTING, was_woken=True), ["REPLICA_WOKEN", "REPLICA_STARTED"]),
        (ASLEEP, STARTING, ["REPLICA_STARTED"]),
        (ASLEEP, None, ["REPLICA_STOPPED"]),
    ],
)
def test_what_is_told_of_a_replica(before: Replica | None, after: Replica | None, kinds: list[str]) -> None:
    events = replica_events([before] if before else [], [after] if after else [])
    assert [event.kind.value for event in events] == kinds
    assert all((event.entity, event.config_version) == ("m-1", 1) for event in events)


def test_a_death_says_why_and_where() -> None:
    (died,) = replica_events([READY], [DEAD])
    assert died.reason == f"{READY.spec.slot}: killed by signal 9"
