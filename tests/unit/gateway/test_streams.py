"""Streams and leaving clients: what leaves when, what is told to the replica, and when it has room again.

The replicas are played, on real sockets and by the real frame protocol.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.gateway import backend as backend_module
from penstock.gateway.backend import Backend
from penstock.gateway.call import MAX_UNSENT_BYTES, Call, CallState
from penstock.wire.frames import End, FrameType, Head, encode, encode_struct
from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, refusal, submit, with_bench
from unit.gateway.fakes import FakeExchange, FakeReplica, Job, make_call


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the gateway waits for before it looks again at a replica that hangs."""
    monkeypatch.setattr(backend_module, "_STREAM_GRACE_S", 0.1)
    monkeypatch.setattr(backend_module, "_STUCK_CHECK_S", 0.01)


async def streaming(bench: Bench, **options: int) -> tuple[FakeReplica, Backend, FakeExchange, Job]:
    """A replica that has begun a stream, its backend, who reads the stream, and the request as the replica has it."""
    replica = await bench.replica("k-0", **options)
    backend = bench.backend("k-0")
    await both_ready(backend)
    exchange = submit(backend, b"stream")
    job = await replica.job()
    replica.begin_stream(job)
    await until(lambda: exchange.head is not None)
    return replica, backend, exchange, job


async def cancelled(replica: FakeReplica) -> int:
    """The request id of the next CANCEL."""
    return await asyncio.wait_for(replica.cancelled.get(), 5)


def in_flight(backend: Backend) -> int:
    """Calls that its replicas have."""
    return sum(link.in_flight for link in backend._links)


def events_of(body: bytes) -> Iterator[Any]:
    """The documents of a stream's events."""
    for event in body.decode().split("\n\n")[:-1]:
        yield json.loads(event.removeprefix("data: "))


def test_the_head_of_a_stream_leaves_before_its_first_piece(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        _, _, exchange, _ = await streaming(bench)
        assert exchange.head is not None
        status, headers = exchange.head
        assert (status, exchange.pieces, exchange.answers) == (200, [], [])
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-cache"
        assert headers["served-model-name"] == "m-1"
        assert headers["x-penstock-replica"] == "k-0"
        assert headers["x-databricks-request-id"] == headers["databricks-request-id"] != ""

    with_bench(tmp_path, script)


def test_pieces_leave_as_they_come_whatever_else_the_replica_answers(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench, slots=3)
        replica.piece(job, b"one")
        await until(lambda: exchange.pieces == [b"one"])
        whole, second = submit(backend, b"whole"), submit(backend, b"second")
        whole_job, second_job = await replica.job(), await replica.job()
        replica.begin_stream(second_job)
        replica.answer(whole_job)
        assert (await whole.answer()).body == b"whole"
        replica.piece(second_job, b"uno")
        replica.piece(job, b"two")
        replica.piece(second_job, b"due")
        await until(lambda: exchange.pieces == [b"one", b"two"] and second.pieces == [b"uno", b"due"])
        assert not exchange.answers
        assert not second.answers
        replica.end(job)
        assert (await exchange.answer()).body == b"onetwo"
        assert not second.answers
        replica.end(second_job)
        assert (await second.answer()).body == b"unodue"

    with_bench(tmp_path, script)


def test_a_stream_has_a_slot_until_its_end(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench)
        after = submit(backend, b"after")
        replica.piece(job, b"one")
        await until(lambda: exchange.pieces == [b"one"])
        assert replica.jobs.empty()
        replica.end(job)
        replica.answer(await replica.job())
        assert (await after.answer()).body == b"after"
        assert (await exchange.answer()).status == 200

    with_bench(tmp_path, script)


def test_a_stream_counts_once_and_by_how_it_ended(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", slots=2)
        backend = bench.backend("k-0")
        counted: dict[str, list[int]] = {"good": [], "broken": []}
        good = submit(backend, b"good", lambda status, *_: counted["good"].append(status))
        broken = submit(backend, b"broken", lambda status, *_: counted["broken"].append(status))
        first, second = await replica.job(), await replica.job()
        replica.begin_stream(first)
        replica.begin_stream(second)
        await until(lambda: good.head is not None and broken.head is not None)
        assert counted == {"good": [], "broken": []}
        replica.end(first)
        replica.fail(second, "lost")
        await answered(good, broken)
        assert counted == {"good": [200], "broken": [500]}

    with_bench(tmp_path, script)


def test_a_stream_whose_replica_dies_ends_with_an_error_and_is_not_begun_again(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed, backend, exchange, job = await streaming(bench)
        doomed.piece(job, b'data: "one"\n\n')
        await until(lambda: len(exchange.pieces) == 1)
        await doomed.die()
        answer = await exchange.answer()
        assert answer.status == 200, "the head had left"
        first, error = events_of(answer.body)
        assert first == "one"
        assert error["error_code"] == "INTERNAL_ERROR"
        assert "ended while it worked on this request" in error["message"]
        again = await bench.replica("k-0", slots=2)
        submit(backend, b"another")
        assert (await again.job()).body == b"another"

    with_bench(tmp_path, script)


def test_a_replica_that_fails_in_a_stream_says_why_and_has_room_again(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench)
        replica.fail(job, "SystemExit in the model")
        (error,) = events_of((await exchange.answer()).body)
        assert (error["error_code"], error["message"]) == ("INTERNAL_ERROR", "SystemExit in the model")
        replica.piece(job, b"late")
        replica.end(job)
        after = submit(backend, b"after")
        replica.answer(await replica.job())
        assert (await after.answer()).body == b"after"
        assert len(exchange.pieces) == 1

    with_bench(tmp_path, script)


def test_a_stream_whose_client_leaves_is_cancelled_and_keeps_its_slot_until_it_ends(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench)
        exchange.leave()
        assert await cancelled(replica) == job.request_id
        after = submit(backend, b"after")
        assert in_flight(backend) == 1
        replica.piece(job, b"nobody reads this")
        replica.end(job)
        replica.answer(await replica.job())
        assert (await after.answer()).body == b"after"
        assert (exchange.pieces, exchange.answers) == ([], [])
        assert bench.recycled == []

    with_bench(tmp_path, script)


def test_a_call_that_was_sent_and_not_begun_makes_room_as_soon_as_its_client_leaves(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        gone, after = submit(backend, b"gone"), submit(backend, b"after")
        job = await replica.job()
        gone.leave()
        assert await cancelled(replica) == job.request_id
        next_job = await replica.job()
        assert next_job.body == b"after"
        replica.answer(job)  # it had begun before the CANCEL came: heard by nobody
        replica.answer(next_job)
        assert (await after.answer()).body == b"after"
        assert gone.answers == []
        assert in_flight(backend) == 0

    with_bench(tmp_path, script)


def test_a_prediction_at_work_is_finished_though_its_client_left(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        counted: list[int] = []
        gone = submit(backend, b"gone", lambda status, *_: counted.append(status))
        after = submit(backend, b"after")
        job = await replica.job()
        replica.begin(job)
        await until(backend._links[0].has_wanted)
        gone.leave()
        assert await cancelled(replica) == job.request_id
        assert (in_flight(backend), replica.jobs.qsize()) == (1, 0), "the replica still works on it"
        replica.finish(job)
        replica.answer(await replica.job())
        assert (await after.answer()).body == b"after"
        assert (gone.answers, counted, in_flight(backend)) == ([], [200], 0)

    with_bench(tmp_path, script)


def test_a_call_that_waits_is_dropped_when_its_client_leaves(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0")
        gone, stays = submit(backend, b"gone"), submit(backend, b"stays")
        gone.leave()
        replica = await bench.replica("k-0")
        job = await replica.job()
        assert job.body == b"stays"
        replica.answer(job)
        await stays.answer()
        assert gone.answers == []

    with_bench(tmp_path, script)


def test_a_client_that_leaves_after_its_answer_cancels_nothing(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench)
        replica.end(job)
        await exchange.answer()
        exchange.leave()
        whole = submit(backend)
        replica.answer(await replica.job())
        await whole.answer()
        whole.leave()
        submit(backend)
        await replica.job()  # what was written before it has come before it
        assert replica.cancelled.empty()

    with_bench(tmp_path, script)


def test_a_client_that_reads_too_slowly_is_cut_off_and_its_stream_cancelled(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica, backend, exchange, job = await streaming(bench)
        exchange.unsent_bytes = MAX_UNSENT_BYTES
        replica.piece(job, b"as much as may wait")
        await until(lambda: len(exchange.pieces) == 1)
        assert not exchange.was_broken_off
        exchange.unsent_bytes += 1
        replica.piece(job, b"a byte too many")
        replica.piece(job, b"not sent any more")
        assert await cancelled(replica) == job.request_id
        assert exchange.was_broken_off
        replica.end(job)
        await until(lambda: in_flight(backend) == 0)
        assert len(exchange.pieces) == 2
        assert exchange.answers == []
        assert replica.cancelled.empty()

    with_bench(tmp_path, script)


def test_a_whole_answer_is_no_sooner_sent_than_it_is_whole(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        exchange = submit(backend, b"ab")
        job = await replica.job()
        replica.begin(job)
        *most, end = frames_of_whole(job, b"a", b"b")
        job.peer.write(b"".join(most))
        probe = await bench.replica("k-1")
        other = submit(bench.backend("k-1"))
        probe.answer(await probe.job())
        await other.answer()
        assert (exchange.head, exchange.pieces, exchange.answers) == (None, [], [])
        job.peer.write(end)
        assert (await exchange.answer()).body == b"ab"

    with_bench(tmp_path, script)


def frames_of_whole(job: Job, *pieces: bytes) -> list[bytes]:
    """The frames of a whole answer in these pieces."""
    head = encode_struct(FrameType.HEAD, job.request_id, Head(200, "application/json"))
    chunks = [encode(FrameType.CHUNK, job.request_id, piece) for piece in pieces]
    return [head, *chunks, encode_struct(FrameType.END, job.request_id, End(1))]


def expire(backend: Backend, call: Call) -> None:
    """The call's time limit has come."""
    assert call.deadline is not None
    call.deadline.cancel()
    backend._expire(call)


def test_a_stream_past_its_time_limit_ends_with_an_error_and_costs_no_replica_if_it_obeys(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"stream", slots=1)
        call, exchange, job = table.at("stream")
        table.replica.begin_stream(job)
        table.replica.piece(job, b'data: "one"\n\n')
        await until(lambda: len(exchange.pieces) == 1)
        expire(table.backend, call)
        answer = await exchange.answer()
        first, error = events_of(answer.body)
        assert (answer.status, first, error["error_code"]) == (200, "one", "DEADLINE_EXCEEDED")
        assert "was worked on past the time limit of 60 s" in error["message"]
        assert await cancelled(table.replica) == job.request_id
        after = submit(table.backend, b"after")
        table.replica.piece(job, b"late")
        table.replica.end(job)
        table.replica.answer(await table.replica.job())
        assert (await after.answer()).body == b"after"
        assert (bench.recycled, len(exchange.pieces)) == ([], 2)

    with_bench(tmp_path, script)


def test_a_stream_past_its_time_limit_that_does_not_end_costs_its_replica(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"stream", slots=1)
        call, exchange, job = table.at("stream")
        table.replica.begin_stream(job)
        await until(lambda: exchange.head is not None)
        expire(table.backend, call)
        assert bench.recycled == [], "it has a while to see that it was cancelled"
        await until(lambda: bool(bench.recycled))
        assert [(slot, pid) for slot, pid, _ in bench.recycled] == [("k-0", 4242)]

    with_bench(tmp_path, script)


@dataclass
class Table:
    """A replica with its work laid out: every call at work, or sent if it is beyond the slots."""

    replica: FakeReplica
    backend: Backend
    work: dict[str, tuple[Call, FakeExchange, Job]]

    @classmethod
    async def laid(cls, bench: Bench, *bodies: bytes, slots: int, window: int = 0) -> "Table":
        """Submit calls of these bodies and wait until the replica has them and has begun what it can."""
        replica = await bench.replica("k-0", slots=slots, window=window)
        backend = bench.backend("k-0")
        await both_ready(backend)
        work = {}
        for place, body in enumerate(bodies):
            call, exchange = make_call(body)
            backend.submit(call)
            job = await replica.job()
            if place < slots:
                replica.begin(job)
                await until(lambda call=call: call.state is CallState.STARTED)
            work[body.decode()] = (call, exchange, job)
        return cls(replica, backend, work)

    def at(self, body: str) -> tuple[Call, FakeExchange, Job]:
        """One of the calls, who waits for it, and the replica's side of it."""
        return self.work[body]


def test_a_replica_on_which_one_call_hangs_is_replaced_once_the_others_are_done(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"hung", b"busy", slots=2, window=1)
        (call, hung, _), (_, busy, busy_job) = table.at("hung"), table.at("busy")
        expire(table.backend, call)
        assert refusal(await hung.answer()) == (504, "DEADLINE_EXCEEDED")
        waiting = submit(table.backend, b"waiting")
        await asyncio.sleep(0.05)  # it is looked at several times meanwhile
        assert (bench.recycled, table.replica.jobs.qsize()) == ([], 0), "no new calls, and no harm to those at work"
        table.replica.finish(busy_job)
        assert (await busy.answer()).body == b"busy"
        await until(lambda: bool(bench.recycled))
        assert table.replica.jobs.empty()
        await table.replica.die()
        bench.answer_everything(await bench.replica("k-0"))
        assert (await waiting.answer()).body == b"waiting"
        assert [(slot, pid) for slot, pid, _ in bench.recycled] == [("k-0", 4242)]

    with_bench(tmp_path, script)


def test_a_replica_on_which_one_call_hangs_is_not_kept_for_clients_that_left(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"hung", b"busy", slots=2)
        expire(table.backend, table.at("hung")[0])
        await asyncio.sleep(0.03)
        assert bench.recycled == []
        table.at("busy")[1].leave()
        await until(lambda: bool(bench.recycled))

    with_bench(tmp_path, script)


def test_what_a_hung_replica_had_not_begun_is_answered_by_the_next(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"hung", b"unbegun", slots=1, window=1)
        expire(table.backend, table.at("hung")[0])
        await until(lambda: bool(bench.recycled))
        await table.replica.die()
        bench.answer_everything(await bench.replica("k-0"))
        assert (await table.at("unbegun")[1].answer()).body == b"unbegun"

    with_bench(tmp_path, script)


def test_a_call_that_hung_and_ends_after_all_gives_the_replica_back(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"hung", b"busy", slots=2, window=1)
        (call, hung, hung_job), (_, busy, busy_job) = table.at("hung"), table.at("busy")
        expire(table.backend, call)
        waiting = submit(table.backend, b"waiting")
        await asyncio.sleep(0.03)
        assert table.replica.jobs.empty()
        table.replica.finish(hung_job)
        table.replica.answer(await table.replica.job())
        assert (await waiting.answer()).body == b"waiting"
        table.replica.finish(busy_job)
        assert (await busy.answer()).body == b"busy"
        assert bench.recycled == []
        assert len(hung.answers) == 1

    with_bench(tmp_path, script)


def test_a_replica_on_which_a_call_hangs_takes_none_when_another_late_one_ends(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"hung", b"late", b"busy", slots=3, window=1)
        expire(table.backend, table.at("hung")[0])
        call, exchange, job = table.at("late")
        expire(table.backend, call)
        await exchange.answer()
        table.replica.finish(job)
        await until(lambda: in_flight(table.backend) == 2)
        submit(table.backend, b"waiting")
        await asyncio.sleep(0.05)
        assert table.replica.jobs.empty()

    with_bench(tmp_path, script)


def test_a_client_that_leaves_before_its_call_began_leaves_nothing_behind(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        table = await Table.laid(bench, b"busy", b"sent", slots=1, window=1)
        sent, waiting = table.at("sent"), make_call(b"waiting")
        table.backend.submit(waiting[0])
        for call, exchange, *_ in (sent, waiting):
            exchange.leave()
            assert call.deadline is not None
            assert (call.body, call.deadline.cancelled()) == (b"", True)

    with_bench(tmp_path, script)
