"""The autoscaler's loop: what it makes of reports, and when it keeps its hands off."""

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.control.autoscaler import Autoscaler
from penstock.domain.endpoint import Endpoint
from penstock.domain.events import Event, EventKind
from penstock.domain.limits import Windows
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.sizing import Sizing
from unit.builders import LIMITS, entity, live, replicas

WINDOWS = Windows(stable_s=4, panic_s=2, zero_after_s=3)
BETWEEN = live(entity(sizing=Sizing(None, min_concurrency=4, max_concurrency=8)))
SLEEPY = live(entity(sizing=Sizing(scale_to_zero=True)))


def key_of(endpoint: Endpoint) -> str:
    """The deployment of an endpoint with one entity."""
    assert endpoint.active is not None
    return endpoint.active.entities[0].deployment_key(endpoint.id)


@dataclass
class FakeDatabase:
    """As much of the database as is read."""

    stored: list[Endpoint]

    def endpoints(self) -> list[Endpoint]:
        return self.stored


@dataclass
class FakeCluster:
    """Gateways 1 and 2, and these replicas."""

    seen: list[Replica] = field(default_factory=list)

    def gateway_pids(self) -> frozenset[int]:
        return frozenset({1, 2})

    def replicas_of(self, name: str) -> tuple[Replica, ...]:
        return tuple(replica for replica in self.seen if replica.spec.endpoint_name == name)


@dataclass
class Bench:
    """An autoscaler, and the seconds."""

    endpoint: Endpoint
    scales: dict[str, int] = field(default_factory=dict)
    seen: list[Replica] = field(default_factory=list)
    now_s: float = 100.0
    disk_is_full: bool = False

    def __post_init__(self) -> None:
        self.changed: list[set[str]] = []
        self.told: list[tuple[str, Event]] = []
        database: Any = FakeDatabase([self.endpoint])
        cluster: Any = FakeCluster(self.seen)
        limits = replace(LIMITS, windows=WINDOWS)
        self.autoscaler = Autoscaler(database, cluster, limits, self.scales, self._announced, self.told.extend)

    def _announced(self, names: Iterable[str]) -> None:
        if self.disk_is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.changed.append(set(names))

    def second(self, *calls: float, gateways: tuple[int, ...] = (1, 2)) -> int:
        """Gateways report their calls, and a second goes by; the number of replicas then."""
        self.now_s += 1
        for pid, share in zip(gateways, calls, strict=True):
            self.autoscaler.take(pid, {key_of(self.endpoint): share} if share else {}, self.now_s)
        self.autoscaler.decide(self.now_s)
        return self.scales.get(key_of(self.endpoint), -1)


def test_p3_4_the_calls_of_all_gateways_count_together() -> None:
    bench = Bench(BETWEEN)
    assert bench.second(1.0, 1.0) == 1
    assert bench.second(3.0, 3.0) == 2
    assert bench.changed[-1] == {"x"}
    event = Event(EventKind.SCALED, "From 1 to 2 replicas.", 1, "m-1")
    assert bench.told == [(BETWEEN.id, event)], "the first number is no event"


def test_p3_4_while_a_gateway_is_silent_nothing_is_decided() -> None:
    bench = Bench(SLEEPY)
    assert bench.second(1.0, 0.0) == 1
    for _ in range(20):
        assert bench.second(0.0, gateways=(1,)) == 1, "the other may have calls"
    series = [bench.second(0.0, 0.0) for _ in range(6)]
    assert (series[0], series[-1]) == (1, 0), "nor is it known to have been idle"


def test_p3_5_idle_time_counts_from_the_end_of_the_last_call() -> None:
    bench = Bench(SLEEPY)
    series = [bench.second(1.0, 0.0) for _ in range(10)]
    assert set(series) == {1}
    assert [bench.second(0.0, 0.0) for _ in range(3)] == [1, 1, 0]


def test_p3_5_idle_time_does_not_count_before_it_serves() -> None:
    bench = Bench(SLEEPY)
    bench.now_s += 1000
    assert bench.second(0.0, 0.0) == 1


def test_p3_5_a_replica_that_a_request_woke_counts_and_its_idle_time_begins_anew() -> None:
    (replica,) = replicas(SLEEPY, SLEEPY.active, ReplicaState.STARTING, was_woken=True)
    bench = Bench(SLEEPY, {key_of(SLEEPY): 0}, [replica])
    for _ in range(10):
        assert bench.second(0.0, 0.0) == 0
    bench.autoscaler.adopt(["x"])
    assert bench.scales == {key_of(SLEEPY): 1}
    assert bench.changed[-1] == {"x"}
    assert bench.second(0.0, 0.0) == 1


def test_what_is_routed_to_no_longer_is_forgotten() -> None:
    bench = Bench(SLEEPY, {"gone": 3})
    bench.second(0.0, 0.0)
    assert "gone" not in bench.scales


def test_what_could_not_be_announced_is_announced_a_second_later() -> None:
    bench = Bench(BETWEEN)
    bench.second(1.0, 0.0)
    bench.disk_is_full = True
    assert bench.second(6.0, 0.0) == 2
    before = len(bench.changed)
    bench.disk_is_full = False
    assert bench.second(6.0, 0.0) == 2
    assert bench.changed[before:] == [{"x"}]
