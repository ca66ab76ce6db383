"""Calls and replicas: who gets which call, and what becomes of it when replicas die, hang, or never come.

The replicas are played, on real sockets and by the real frame protocol.
"""

import asyncio
import contextlib
import gc
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from penstock.domain.routing import RoutedEntity
from penstock.gateway.backend import least_loaded
from penstock.gateway.call import Call
from penstock.wire.frames import End, FrameType, encode_struct
from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, refusal, submit, with_bench


@dataclass
class FakeLink:
    """As much of a link as choosing needs."""

    room: int
    in_flight: int


@pytest.mark.parametrize(
    ("links", "chosen"),
    [
        ([], None),
        ([(0, 5)], None),
        ([(1, 4)], 0),
        ([(3, 2), (4, 1), (5, 0)], 2),
        ([(0, 0), (1, 4)], 1),
        ([(5, 1), (5, 1)], 0),
    ],
)
def test_a_call_goes_to_the_replica_with_room_and_the_fewest_in_flight(
    links: list[tuple[int, int]], chosen: int | None
) -> None:
    fakes = [FakeLink(*link) for link in links]
    assert least_loaded(fakes) is (None if chosen is None else fakes[chosen])  # type: ignore[arg-type]


def test_a_call_is_answered_with_what_the_replica_gave(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        exchange = submit(bench.backend("k-0"), b"hello")
        job = await replica.job()
        assert job.body == b"hello"
        replica.begin(job)
        replica.finish(job, 400, b"a\0b")
        (answer,) = await answered(exchange)
        assert (answer.status, answer.body) == (400, b"a\0b")
        assert answer.headers["served-model-name"] == "m-1"
        assert answer.headers["x-penstock-replica"] == "k-0"
        assert answer.headers["content-type"] == "application/json"

    with_bench(tmp_path, script)


def test_calls_are_spread_over_the_replicas(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        first, second = await bench.replica("k-0", slots=1, window=9), await bench.replica("k-1", slots=1, window=9)
        backend = bench.backend("k-0", "k-1")
        await both_ready(backend)
        exchanges = [submit(backend, b"%d" % i) for i in range(6)]
        jobs = [(replica, await replica.job()) for replica in (first, second) for _ in range(3)]
        for replica, job in jobs:
            replica.answer(job)
        assert [answer.body for answer in await answered(*exchanges)] == [b"%d" % i for i in range(6)]

    with_bench(tmp_path, script)


def test_a_call_goes_to_the_replica_that_has_less_to_do(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        first, second = await bench.replica("k-0", slots=4), await bench.replica("k-1", slots=4)
        backend = bench.backend("k-0", "k-1")
        await both_ready(backend)
        exchanges = [submit(backend) for _ in range(4)]
        for _ in range(2):
            second.answer(await second.job())
        await answered(exchanges[1], exchanges[3])
        submit(backend, b"fifth")
        submit(backend, b"sixth")
        assert {(await second.job()).body, (await second.job()).body} == {b"fifth", b"sixth"}
        assert first.jobs.qsize() == 2

    with_bench(tmp_path, script)


def test_a_full_replica_is_given_nothing_and_calls_wait_in_order(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=1, window=1)
        backend = bench.backend("k-0")
        exchanges = [submit(backend, b"%d" % i) for i in range(5)]
        order = []
        for already in (2, 2, 2, 2, 1):
            job = await replica.job()
            await until(lambda n=already: replica.jobs.qsize() == n - 1)
            order.append(job.body)
            replica.answer(job)
        assert order == [b"0", b"1", b"2", b"3", b"4"]
        await answered(*exchanges)

    with_bench(tmp_path, script)


def test_calls_are_held_until_a_replica_comes_up(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0")
        exchanges = [submit(backend, b"%d" % i) for i in range(3)]
        bench.answer_everything(await bench.replica("k-0"))
        assert [answer.body for answer in await answered(*exchanges)] == [b"0", b"1", b"2"]

    with_bench(tmp_path, script)


def test_calls_that_are_held_too_long_are_refused(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0", hold_timeout_s=0.05)
        answers = await answered(submit(backend), submit(backend))
        for answer in answers:
            assert refusal(answer) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "'m-1'" in answer.json["message"]
            assert answer.headers["retry-after"] == "1"
        bench.answer_everything(await bench.replica("k-0"))
        assert (await submit(bench.backend("k-0"), b"later").answer()).status == 200

    with_bench(tmp_path, script)


def test_calls_that_wait_for_a_busy_replica_are_not_refused_like_held_ones(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0", hold_timeout_s=0.05)
        await both_ready(backend)
        busy, waiting = submit(backend), submit(backend)
        job = await replica.job()
        await asyncio.sleep(0.15)
        assert waiting.answers == []
        replica.answer(job)
        replica.answer(await replica.job())
        assert [answer.status for answer in await answered(busy, waiting)] == [200, 200]

    with_bench(tmp_path, script)


def test_a_call_that_a_dead_replica_had_not_begun_is_answered_by_another(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed, other = await bench.replica("k-0", slots=1, window=4), await bench.replica("k-1", slots=1, window=4)
        backend = bench.backend("k-0", "k-1")
        await both_ready(backend)
        exchanges = {body: submit(backend, body) for body in (b"0", b"1", b"2", b"3")}
        jobs = [await doomed.job(), await doomed.job()]
        doomed.begin(jobs[0])
        await until(lambda: any(call.state.name == "STARTED" for call in backend._links[0]._calls.values()))
        await doomed.die()
        bench.answer_everything(other)
        started = exchanges.pop(jobs[0].body)
        assert refusal(await started.answer()) == (500, "INTERNAL_ERROR")
        assert "ended while it worked on this request" in started.answers[0].json["message"]
        for body, exchange in exchanges.items():
            answer = await exchange.answer()
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["x-penstock-replica"] == "k-1"

    with_bench(tmp_path, script)


def test_calls_return_to_the_head_of_the_queue_in_their_order(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", slots=1, window=2)
        backend = bench.backend("k-0")
        await both_ready(backend)
        exchanges = [submit(backend, b"%d" % i) for i in range(5)]
        for _ in range(3):
            await doomed.job()
        await doomed.die()
        again = await bench.replica("k-0", slots=1, window=9)
        order = [await again.job() for _ in range(5)]
        assert [job.body for job in order] == [b"0", b"1", b"2", b"3", b"4"]
        for job in order:
            again.answer(job)
        assert {answer.status for answer in await answered(*exchanges)} == {200}

    with_bench(tmp_path, script)


def test_a_full_queue_refuses_more(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=1, window=1)
        backend = bench.backend("k-0", queue_size=2)
        await both_ready(backend)
        accepted = [submit(backend) for _ in range(4)]
        refused = submit(backend)
        (answer,) = await answered(refused)
        assert refusal(answer) == (429, "RESOURCE_EXHAUSTED")
        assert answer.headers["retry-after"] == "1"
        assert "2 are waiting" in answer.json["message"]
        replica.answer(await replica.job())
        await answered(accepted[0])
        accepted.append(submit(backend))
        bench.answer_everything(replica)
        assert {answer.status for answer in await answered(*accepted)} == {200}

    with_bench(tmp_path, script)


def test_a_queue_of_none_still_lets_an_idle_replica_work(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0", queue_size=0)
        await both_ready(backend)
        accepted, refused = submit(backend), submit(backend)
        assert refusal(await refused.answer()) == (429, "RESOURCE_EXHAUSTED")
        replica.answer(await replica.job())
        assert (await accepted.answer()).status == 200

    with_bench(tmp_path, script)


def test_a_client_that_went_away_does_not_take_a_place_in_the_queue(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0", queue_size=1)
        submit(backend, b"gone").is_open = False
        stays = submit(backend, b"stays")
        bench.answer_everything(await bench.replica("k-0"))
        answer = await stays.answer()
        assert (answer.status, answer.body) == (200, b"stays")

    with_bench(tmp_path, script)


def test_a_call_whose_client_went_away_is_not_given_to_a_replica(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0")
        submit(backend, b"gone").is_open = False
        stays = submit(backend, b"stays")
        replica = await bench.replica("k-0")
        job = await replica.job()
        assert job.body == b"stays"
        replica.answer(job)
        await stays.answer()

    with_bench(tmp_path, script)


def test_a_call_past_its_time_limit_is_refused_and_its_replica_replaced(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", pid=77)
        backend = bench.backend("k-0", timeout_s=0.2)
        exchange = submit(backend)
        job = await replica.job()
        replica.begin(job)
        (answer,) = await answered(exchange)
        assert refusal(answer) == (504, "DEADLINE_EXCEEDED")
        assert "was worked on past the time limit of 0.2 s" in answer.json["message"]
        await until(lambda: bool(bench.recycled))
        ((slot, pid, reason),) = bench.recycled
        assert (slot, pid) == ("k-0", 77)
        assert "0.2 s" in reason
        replica.finish(job)
        bench.answer_everything(replica)
        await until(lambda: backend._links[0].in_flight == 0)
        assert len(exchange.answers) == 1

    with_bench(tmp_path, script)


def test_a_call_that_waited_past_its_time_limit_costs_no_replica(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=1, window=1)
        backend = bench.backend("k-0", timeout_s=60)
        busy = submit(backend)
        job = await replica.job()
        replica.begin(job)
        backend.entity = RoutedEntity("m-1", "1" * 32, "key", ("k-0",), 100, 0.1, 100)
        sent, waiting = submit(backend, b"sent"), submit(backend, b"waiting")
        for answer in await answered(sent, waiting):
            assert refusal(answer) == (504, "DEADLINE_EXCEEDED")
            assert "waited for a replica" in answer.json["message"]
        sent_job = await replica.job()
        assert await asyncio.wait_for(replica.cancelled.get(), 5) == sent_job.request_id
        replica.finish(job)
        assert (await busy.answer()).status == 200
        backend.entity = RoutedEntity("m-1", "1" * 32, "key", ("k-0",), 100, 60, 100)
        later = [submit(backend, b"later"), submit(backend, b"last")]
        arrived = []  # both at once: what was cancelled takes no room
        while len(arrived) < 2:
            job = await replica.job()
            arrived += [job] if job.body in {b"later", b"last"} else []
        for job in arrived:
            replica.answer(job)
        assert {answer.status for answer in await answered(*later)} == {200}
        assert bench.recycled == []

    with_bench(tmp_path, script)


def test_the_answer_to_a_cancelled_call_reaches_nobody_else(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=2)
        backend = bench.backend("k-0", timeout_s=0.1)
        late = submit(backend, b"late")
        job = await replica.job()
        assert refusal(await late.answer()) == (504, "DEADLINE_EXCEEDED")
        other = submit(backend, b"other")
        replica.answer(job)
        replica.answer(await replica.job())
        answer = await other.answer()
        assert (answer.status, answer.body) == (200, b"other")

    with_bench(tmp_path, script)


def test_a_replica_that_cannot_answer_is_our_fault(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        exchange = submit(bench.backend("k-0"))
        replica.fail(await replica.job(), "the answer is too large")
        answer = await exchange.answer()
        assert refusal(answer) == (500, "INTERNAL_ERROR")
        assert answer.json["message"] == "the answer is too large"

    with_bench(tmp_path, script)


def test_answers_may_come_in_any_order(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=3)
        backend = bench.backend("k-0")
        exchanges = [submit(backend, b"%d" % i) for i in range(3)]
        jobs = [await replica.job() for _ in range(3)]
        for job in reversed(jobs):
            replica.answer(job)
        assert [answer.body for answer in await answered(*exchanges)] == [b"0", b"1", b"2"]

    with_bench(tmp_path, script)


def test_a_replica_that_breaks_the_protocol_is_left_and_its_calls_go_elsewhere(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        exchange = submit(backend, b"again")
        job = await replica.job()
        job.peer.write(b"\xff" * 64)
        again = await replica.job()
        assert again.body == b"again"
        replica.answer(again)
        assert (await exchange.answer()).status == 200

    with_bench(tmp_path, script)


def test_an_answer_without_a_head_is_an_error_and_not_silence(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        exchange = submit(bench.backend("k-0", timeout_s=1))
        job = await replica.job()
        replica.begin(job)
        job.peer.write(encode_struct(FrameType.END, job.request_id, End(1)))
        assert refusal(await exchange.answer()) == (500, "INTERNAL_ERROR")

    with_bench(tmp_path, script)


def test_a_replica_of_another_protocol_version_gets_nothing_and_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(bench: Bench) -> None:
        stranger = await bench.replica("k-0", protocol=2)
        backend = bench.backend("k-0", hold_timeout_s=0.5)
        assert refusal(await submit(backend).answer()) == (503, "TEMPORARILY_UNAVAILABLE")
        await asyncio.wait_for(stranger.lost.wait(), 5)
        assert stranger.jobs.empty()
        assert stranger.connections < 10, "it is tried again after delays that grow"

    with caplog.at_level(logging.CRITICAL):
        with_bench(tmp_path, script)


def test_calls_are_not_held_for_ever_once_the_last_replica_is_lost(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0")
        backend = bench.backend("k-0", hold_timeout_s=0.1)
        await both_ready(backend)
        unbegun, waiting = submit(backend), submit(backend)
        await doomed.job()
        await doomed.die()
        later = submit(backend)
        for answer in await answered(unbegun, waiting, later):
            assert refusal(answer) == (503, "TEMPORARILY_UNAVAILABLE")

    with_bench(tmp_path, script)


def test_a_first_replica_is_waited_for_from_when_the_last_one_was_lost(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0")
        backend = bench.backend("k-0", hold_timeout_s=0.4)
        await both_ready(backend)
        busy, waiting = submit(backend, b"busy"), submit(backend, b"waiting")
        doomed.begin(await doomed.job())
        await asyncio.sleep(0.5)  # longer than calls are held
        await doomed.die()
        assert refusal(await busy.answer()) == (500, "INTERNAL_ERROR")
        bench.answer_everything(await bench.replica("k-0"))
        answer = await waiting.answer()
        assert (answer.status, answer.body) == (200, b"waiting")

    with_bench(tmp_path, script)


def test_a_retired_backend_answers_what_it_has_and_then_leaves_its_replicas(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        working, waiting = submit(backend), submit(backend)
        job = await replica.job()
        backend.retire()
        replica.answer(job)
        last = await replica.job()
        assert not replica.lost.is_set()
        replica.answer(last)
        await asyncio.wait_for(replica.lost.wait(), 5)
        assert [answer.status for answer in await answered(working, waiting)] == [200, 200]

    with_bench(tmp_path, script)


def test_an_idle_backend_leaves_its_replicas_as_soon_as_it_is_retired(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        await both_ready(backend)
        backend.retire()
        await asyncio.wait_for(replica.lost.wait(), 5)

    with_bench(tmp_path, script)


def test_an_answered_call_is_not_kept_until_its_time_limit(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.answer_everything(await bench.replica("k-0"))
        backend = bench.backend("k-0", timeout_s=300)
        await answered(*[submit(backend) for _ in range(20)])
        gc.collect()
        assert sum(type(thing) is Call for thing in gc.get_objects()) == 0

    with_bench(tmp_path, script)


def test_many_calls_over_replicas_that_keep_dying_are_each_answered_once(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0", "k-1", queue_size=1000)
        exchanges = [submit(backend, b"%d" % i) for i in range(200)]
        steady = await bench.replica("k-1", slots=1, window=4)
        bench.answer_everything(steady)
        for _ in range(5):
            doomed = await bench.replica("k-0", slots=1, window=4)
            with contextlib.suppress(TimeoutError):
                for _ in range(3):
                    doomed.answer(await asyncio.wait_for(doomed.jobs.get(), 0.2))
                doomed.begin(await asyncio.wait_for(doomed.jobs.get(), 0.2))
            await doomed.die()
        answers = await answered(*exchanges)
        assert {answer.status for answer in answers} <= {200, 500}
        assert sum(answer.status == 500 for answer in answers) <= 10
        bodies = [answer.body for answer in answers if answer.status == 200]
        assert bodies == [b"%d" % i for i, answer in enumerate(answers) if answer.status == 200]

    with_bench(tmp_path, script)
