"""Counting what becomes of calls: buckets, and the last minute of counts that only grow."""

import pytest

from penstock.domain.load import BOUNDS_MS, EntityLoad, total
from penstock.gateway.load import LoadCounter, LoadMeter


def counted(endpoint: str, entity: str, status: int, elapsed_ms: float) -> EntityLoad:
    """The load of one call that was answered so."""
    counter = LoadCounter(endpoint, entity)
    counter.count(status, elapsed_ms)
    return counter.load()


@pytest.mark.parametrize(
    ("elapsed_ms", "bucket"), [(0, 0), (5, 0), (5.1, 1), (10, 1), (600_000, len(BOUNDS_MS) - 1), (1e9, len(BOUNDS_MS))]
)
def test_a_bucket_holds_what_is_at_most_its_bound(elapsed_ms: float, bucket: int) -> None:
    load = counted("e", "m", 200, elapsed_ms)
    assert [index for index, count in enumerate(load.buckets) if count] == [bucket]
    assert sum(load.buckets) == load.requests == 1
    assert load.sum_ms == elapsed_ms


@pytest.mark.parametrize(
    ("status", "client", "server"), [(200, 0, 0), (399, 0, 0), (400, 1, 0), (429, 1, 0), (500, 0, 1), (504, 0, 1)]
)
def test_errors_are_counted_by_class(status: int, client: int, server: int) -> None:
    load = counted("e", "m", status, 1)
    assert (load.client_errors, load.server_errors) == (client, server)


def test_only_the_last_minute_counts() -> None:
    meter = LoadMeter()
    meter.record("e", "m", 200, 0.001)
    assert [load.requests for load in meter.last_minute(0)] == [1]
    for second in range(1, 60):
        meter.record("e", "m", 400, 0.001)
        assert [load.requests for load in meter.last_minute(second)] == [second + 1]
    assert [(load.requests, load.client_errors) for load in meter.last_minute(60)] == [(59, 59)]
    assert [load.requests for load in meter.last_minute(90)] == [29]
    assert meter.last_minute(150) == []


def test_an_entity_that_was_idle_counts_anew() -> None:
    meter = LoadMeter()
    meter.record("e", "m", 200, 0.001)
    meter.last_minute(0)
    assert meter.last_minute(61) == []
    meter.record("e", "m", 200, 0.002)
    (load,) = meter.last_minute(62)
    assert (load.requests, load.sum_ms) == (1, 2.0)
    assert [load.requests for load in meter.last_minute(121)] == [1]
    assert meter.last_minute(123) == []


def test_gateways_are_added_up_by_entity() -> None:
    first = [counted("e", "a", 200, 1), counted("e", "b", 500, 7)]
    second = [counted("e", "a", 404, 3)]
    sums = {load.entity: load for load in total([*first, *second])}
    assert (sums["a"].requests, sums["a"].client_errors, sums["a"].sum_ms) == (2, 1, 4.0)
    assert (sums["b"].requests, sums["b"].server_errors) == (1, 1)
