"""Counting what becomes of calls: buckets, and the last minute of counts that only grow."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.load import BOUNDS_MS, NO_TIMES, EntityLoad, total
from penstock.gateway.load import LoadCounter, LoadMeter
from penstock.wire.frames import End


def times(endpoint: str = "e", entity: str = "m") -> LoadCounter:
    """A counter of its own."""
    return LoadCounter((endpoint, entity), lambda _: None)


def counted(endpoint: str, entity: str, status: int, elapsed_ms: float) -> EntityLoad:
    """The load of one call that was answered so."""
    counter = times(endpoint, entity)
    counter.count(status, elapsed_ms / 1000)
    return counter.load()


def end(execution_us: int, client_request_id: str | None = None) -> bytes:
    """What a replica tells with its answer."""
    return msgspec.json.encode(End(execution_us, client_request_id))


@pytest.mark.parametrize(
    ("elapsed_ms", "bucket"), [(0, 0), (5, 0), (5.1, 1), (10, 1), (600_000, len(BOUNDS_MS) - 1), (1e9, len(BOUNDS_MS))]
)
def test_a_bucket_holds_what_is_at_most_its_bound(elapsed_ms: float, bucket: int) -> None:
    load = counted("e", "m", 200, elapsed_ms)
    assert [index for index, count in enumerate(load.latency.buckets) if count] == [bucket]
    assert load.requests == 1
    assert load.latency.sum_ms == pytest.approx(elapsed_ms)


@pytest.mark.parametrize(
    ("status", "client", "server"), [(200, 0, 0), (399, 0, 0), (400, 1, 0), (429, 1, 0), (500, 0, 1), (504, 0, 1)]
)
def test_errors_are_counted_by_class(status: int, client: int, server: int) -> None:
    load = counted("e", "m", status, 1)
    assert (load.client_errors, load.server_errors) == (client, server)


def test_p5_5_a_requests_time_is_that_in_the_queue_that_of_the_model_and_the_rest() -> None:
    counter = times()
    counter.count(200, 1.0, 0.25, end(700_000, "an id, with a comma"))
    counter.count(400, 0.1, 0.02, end(30_000))
    load = counter.load()
    assert (load.latency.count, load.queue.count, load.model.count) == (2, 2, 2)
    assert load.queue.sum_ms == pytest.approx(270)
    assert load.model.sum_ms == pytest.approx(730)
    assert load.gateway_ms == pytest.approx(100)


def test_p5_5_what_no_replica_answered_was_queued_and_took_no_model_any_time() -> None:
    counter = times()
    counter.count(503, 60.0)
    counter.count(504, 10.0, 0.5)
    load = counter.load()
    assert (load.queue.count, load.queue.sum_ms, load.model.count) == (2, 60_500.0, 0)


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 10**10)), max_size=20))
def test_p5_5_the_parts_never_are_more_than_the_whole(calls: list[tuple[float, float, int]]) -> None:
    """A model's time is the replica's, the rest is the gateway's clock: only a model may seem to exceed the whole."""
    counter = times()
    for total_s, queued_s, execution in calls:
        counter.count(200, total_s, min(queued_s, total_s), end(execution))
    load = counter.load()
    assert load.queue.count == load.model.count == load.latency.count == len(calls)
    assert load.queue.sum_ms <= load.latency.sum_ms + 1e-6
    assert load.gateway_ms >= 0


@given(st.binary(max_size=40))
def test_p5_5_notes_that_are_none_count_as_no_time(notes: bytes) -> None:
    counter = times()
    counter.count(200, 0.001, 0.0, notes)
    assert counter.load().requests == 1


def test_only_the_last_minute_counts() -> None:
    meter = LoadMeter()
    count = meter.counter("e", "m").count
    count(200, 0.001)
    assert [load.requests for load in meter.look(0)[0]] == [1]
    for second in range(1, 60):
        count(400, 0.001)
        recent, news = meter.look(second)
        assert [load.requests for load in recent] == [second + 1]
        assert [load.requests for load in news] == [1]
    assert [(load.requests, load.client_errors) for load in meter.look(60)[0]] == [(59, 59)]
    assert [load.requests for load in meter.look(90)[0]] == [29]
    assert meter.look(150) == ([], [])


def test_an_entity_that_was_idle_counts_anew() -> None:
    meter = LoadMeter()
    count = meter.counter("e", "m").count
    count(200, 0.001)
    meter.look(0)
    assert meter.look(61) == ([], [])
    count(200, 0.002)
    (load,), news = meter.look(62)
    assert (load.requests, load.latency.sum_ms, news) == (1, 2.0, [load])
    assert [load.requests for load in meter.look(121)[0]] == [1]
    assert meter.look(123) == ([], [])


def test_p5_5_two_ways_to_an_entity_count_together() -> None:
    meter = LoadMeter()
    first, second = meter.counter("e", "m"), meter.counter("e", "m")
    first.count(200, 0.001)
    second.count(500, 0.001)
    assert [(load.requests, load.server_errors) for load in meter.look(0)[0]] == [(2, 1)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 90)), max_size=30))
def test_p5_5_every_answer_is_news_once(turns: list[tuple[str, int, int]]) -> None:
    """Whatever happens between two looks, and however long an entity rests."""
    meter, now_s, told = LoadMeter(), 0.0, 0
    for entity, calls, pause_s in turns:
        for _ in range(calls):
            meter.counter("e", entity).count(200, 0.001)
        now_s += pause_s
        told += sum(load.requests for load in meter.look(now_s)[1])
    assert told == sum(calls for _, calls, _ in turns)


def test_gateways_are_added_up_by_entity() -> None:
    first = [counted("e", "a", 200, 1), counted("e", "b", 500, 7)]
    second = [counted("e", "a", 404, 3)]
    sums = {load.entity: load for load in total([*first, *second])}
    assert (sums["a"].requests, sums["a"].client_errors, sums["a"].latency.sum_ms) == (2, 1, 4.0)
    assert (sums["b"].requests, sums["b"].server_errors) == (1, 1)


def test_p5_5_a_quantile_is_told_from_the_buckets() -> None:
    assert NO_TIMES.quantile_ms(0.5) is None
    counter = times()
    for _ in range(99):
        counter.count(200, 0.004)
    counter.count(200, 1.5)
    latency = counter.load().latency
    assert latency.mean_ms == pytest.approx(18.96)
    assert 0 < (latency.quantile_ms(0.5) or 0) <= 5
    assert (latency.quantile_ms(0.99) or 0) <= 5
    assert 1000 < (latency.quantile_ms(0.999) or 0) <= 2500
    counter.count(200, 10_000)
    assert counter.load().latency.quantile_ms(1) == BOUNDS_MS[-1]
