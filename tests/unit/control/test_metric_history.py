"""The past of metrics as it is written: minute by minute, each request once, whatever fails in between."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from penstock.control.load import Loads
from penstock.control.metric_history import MetricHistory
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.load import BOUNDS_MS, EntityLoad, EntityUsage, Times
from penstock.domain.metric_history import DAY_S
from penstock.stores.metric_points import MetricPoints
from penstock.wire.messages import Report
from unit.builders import empty_endpoint

MINUTE_S = 1_800_000_000
GATEWAY = 7


def load(requests: int, endpoint: str) -> EntityLoad:
    return EntityLoad(endpoint, "m-1", latency=Times((requests, *[0] * len(BOUNDS_MS)), 2.0 * requests))


class Bench:
    """A history whose clock and surroundings the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now_s = float(MINUTE_S)
        self.endpoint: Endpoint = empty_endpoint()
        self.replicas = 1
        self.loads = Loads()
        self.points = MetricPoints.open(folder / "metrics.db")
        self.history = self.begin()

    def begin(self) -> MetricHistory:
        parts: tuple[Any, Any] = (self, self)
        return MetricHistory(*parts, self.loads, self.points, (self.loads,), lambda: self.now_s)

    def endpoints(self) -> list[Endpoint]:
        return [self.endpoint]

    def usages(self, _endpoint: Endpoint) -> list[EntityUsage]:
        return [EntityUsage("m-1", 4, 50.0, 10.0, self.replicas)]

    def ask(self, requests: int) -> None:
        self.loads.take(GATEWAY, Report([], news=[load(requests, self.endpoint.name)]), self.now_s)

    def go_on(self, seconds: float) -> None:
        """Time passes, with a look every five seconds."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s = min(self.now_s + 5, until_s)
            asyncio.run(self.history._look())

    def told(self, begin_s: int | None = None, resolution_s: int | None = None) -> list[int]:
        _, past = self.history.past(self.endpoint, begin_s, None, resolution_s)
        return [point.load.requests for point in past.get("m-1", [])]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.points.close()


def test_p5_5_each_minute_has_what_was_told_in_it(bench: Bench) -> None:
    for requests in (3, 0, 4):
        bench.ask(requests)
        bench.go_on(60)
    assert bench.told() == [3, 0, 4]
    _, past = bench.history.past(bench.endpoint, None, None, None)
    point = past["m-1"][0]
    assert (point.replica_s, point.watched_s, point.most_replicas) == (60, 60, 1)
    assert point.cpu_percent_s / point.measured_s == 50


def test_p5_5_minutes_in_which_nothing_was_asked_and_nothing_ran_have_no_point(bench: Bench) -> None:
    bench.replicas = 0
    bench.go_on(120)
    bench.ask(1)
    bench.go_on(60)
    assert bench.told() == [1]


def test_p5_5_what_is_written_at_the_end_and_after_a_restart_is_one_minute(bench: Bench) -> None:
    bench.ask(2)
    bench.go_on(20)
    bench.points.add(bench.history._taken([bench.endpoint], MINUTE_S))
    bench.history = bench.begin()
    bench.ask(5)
    bench.go_on(40)
    assert bench.told() == [7]


def test_p5_5_a_minute_that_cannot_be_written_is_lost_and_the_next_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TemporarilyUnavailable("the disk is full")

    bench.ask(9)
    with monkeypatch.context() as broken:
        broken.setattr(MetricPoints, "add", fail)
        with pytest.raises(TemporarilyUnavailable):
            bench.go_on(60)
    bench.ask(1)
    bench.go_on(60)
    assert bench.told() == [1]


def test_p5_5_an_endpoint_of_the_same_name_begins_anew(bench: Bench) -> None:
    bench.ask(9)
    bench.go_on(60)
    bench.endpoint = replace(bench.endpoint, id="f" * 32)
    assert bench.told() == []


def test_p5_5_a_clock_that_is_set_back_or_far_ahead_breaks_nothing(bench: Bench) -> None:
    bench.ask(1)
    bench.go_on(60)
    for jump_s in (-3600, 3 * DAY_S):
        bench.now_s += jump_s
        bench.ask(1)
        bench.go_on(120)
    assert sum(bench.told(MINUTE_S - 7200, 600)) == 3
