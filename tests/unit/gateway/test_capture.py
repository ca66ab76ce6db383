"""What is logged of calls: before what leaves, in which order, and what of it."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import DeadlineExceeded
from penstock.domain.inference_log import InferenceLog
from penstock.domain.prediction import Api
from penstock.domain.routing import Access, RoutedEndpoint, RoutedEntity, RoutingTable
from penstock.domain.spool_mode import SpoolMode
from penstock.gateway.call import Call, CallState
from penstock.gateway.capture import Captures
from penstock.gateway.invocations import Invocations
from penstock.gateway.load import LoadMeter
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.gateway.table import CurrentTable
from penstock.spool.record import Context, Flag, Kind, Record, read_records
from penstock.spool.segments import segments
from penstock.spool.writer import SpoolWriter
from penstock.wire.event_stream import DONE
from penstock.wire.frames import Head
from penstock.wire.siblings import Asked
from penstock.wire.sockets import SocketFolder
from unit.clock import run_at_once
from unit.gateway.bench import routed
from unit.gateway.fakes import META, FakeClient, FakeExchange

ASKED = Asked("ann", "e" * 32, None, Api.CHAT, b"application/json")
TABLE = "main.default.x_payload"
NOTES = b'{"execution_us":7,"client_request_id":"mine"}'
STREAM = Head(200, "text/event-stream", is_stream=True)


@dataclass
class Bench:
    """Calls that are logged."""

    folder: Path

    def __post_init__(self) -> None:
        self.spool = SpoolWriter(self.folder, 1 << 20, asyncio.get_running_loop().call_soon)
        self.orphans = Orphans(asyncio.get_running_loop().call_later)
        self.counted: list[int] = []

    def count(self, status: int, seconds: float) -> None:
        """What the load meter would count."""
        self.counted.append(status)

    def not_logged(self) -> int:
        """How many requests were answered and not logged, by the tally."""
        return self.spool.tally.counts().get("e" * 32, 0)

    def call(
        self,
        fraction: float = 1.0,
        body: bytes = b"question",
        max_body_bytes: int = 100,
        mode: SpoolMode = SpoolMode.AVAILABLE,
    ) -> tuple[Call, FakeExchange]:
        """A call that a replica has begun."""
        endpoint = RoutedEndpoint("e" * 32, "x", 7, log=InferenceLog(TABLE, fraction=fraction))
        capture = Captures(self.spool, max_body_bytes).capture(endpoint, replace(routed("k-0"), spool_mode=mode), ASKED)
        exchange = FakeExchange()
        call = Call(exchange, "m-1", META, body, self.count, lambda call: self.orphans.adopt(ASKED, call), capture)
        call.watch(call.outlive_recipient)  # type: ignore[arg-type]
        call.state = CallState.STARTED
        return call, exchange

    def records(self) -> list[Record]:
        """What is on disk, but for contexts."""
        return [record for record in self._all() if record.kind is not Kind.CONTEXT]

    def contexts(self) -> list[Context]:
        """The contexts on disk."""
        return [msgspec.json.decode(r.answer, type=Context) for r in self._all() if r.kind is Kind.CONTEXT]

    def _all(self) -> list[Record]:
        return [record for path in segments(self.folder) for record, _ in read_records(path.read_bytes())]


def scripted(folder: Path, script: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a script."""

    async def main() -> None:
        await script(Bench(folder))

    run_at_once(main)


def answer(call: Call, body: bytes = b"answer") -> None:
    """The replica answers."""
    call.begin(Head(200, "application/json"), "k-0")
    call.take(body)
    call.finish(NOTES)


def test_p4_5_an_answer_leaves_when_its_record_is_written(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call()
        answer(call)
        assert exchange.answers == []
        await asyncio.sleep(0)
        assert [(a.status, a.body) for a in exchange.answers] == [(200, b"answer")]
        (record,) = bench.records()
        assert (record.kind, record.status, record.flags) == (Kind.WHOLE, 200, Flag(0))
        assert (record.request_id, record.notes) == (call.request_id, NOTES)
        assert (record.request, record.answer) == (b"question", b"answer")
        assert 0 <= record.total_us < 60_000_000
        assert bench.contexts() == [
            Context(
                "e" * 32, "x", 7, "1" * 32, "m-1", "ann", "chat/completions", "application/json", 1.0, "", "", TABLE
            )
        ]

    scripted(tmp_path, script)


def test_p4_5_an_error_is_logged_as_the_client_gets_it(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call()
        call.refuse(DeadlineExceeded("too long"))
        await asyncio.sleep(0)
        (record,) = bench.records()
        assert (record.status, record.answer, record.notes) == (504, exchange.answers[0].body, b"")

    scripted(tmp_path, script)


def test_p4_5_a_stream_is_logged_as_it_leaves_and_its_end_before_done(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call()
        call.begin(STREAM, "k-0")
        assert exchange.head is None
        await asyncio.sleep(0)
        assert exchange.head is not None
        assert [record.kind for record in bench.records()] == [Kind.START]
        call.take(b"data: 1\n\n")
        assert exchange.pieces == []
        await asyncio.sleep(0)
        assert exchange.pieces == [b"data: 1\n\n"]
        call.take(DONE)
        await asyncio.sleep(0)
        assert b"".join(exchange.pieces) == b"data: 1\n\n", "its end is not logged yet"
        call.finish(NOTES)
        await asyncio.sleep(0)
        assert b"".join(exchange.pieces) == b"data: 1\n\n" + DONE
        assert len(exchange.answers) == 1
        records = bench.records()
        assert [record.kind for record in records] == [Kind.START, Kind.CHUNK, Kind.CHUNK, Kind.END]
        assert [record.answer for record in records] == [b"", b"data: 1\n\n", DONE, b""]
        assert (records[0].request, records[3].notes, records[3].status) == (b"question", NOTES, 200)
        assert {record.request_id for record in records} == {call.request_id}

    scripted(tmp_path, script)


@pytest.mark.parametrize("turns", [0, 1])
def test_p4_5_whatever_comes_in_one_turn_leaves_in_order(tmp_path: Path, turns: int) -> None:
    pieces = [b"data: 1\n\n", DONE, b"data: 2\n\n" + DONE, b"data: 3\n\n"]

    async def script(bench: Bench) -> None:
        for last in ([], [DONE]):
            call, exchange = bench.call()
            call.begin(STREAM, "k-0")
            for piece in (*pieces, *last):
                call.take(piece)
                await asyncio.sleep(0) if turns else None
            call.finish(NOTES)
            await asyncio.sleep(0)
            assert b"".join(exchange.pieces) == b"".join([*pieces, *last])
            assert exchange.answers

    scripted(tmp_path, script)


def test_p4_5_a_stream_that_fails_ends_with_its_error_and_that_is_logged(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call(max_body_bytes=1000)
        call.begin(STREAM, "k-0")
        call.take(b"data: 1\n\n")
        call.refuse(DeadlineExceeded("too long"))
        await asyncio.sleep(0)
        *_, end = bench.records()
        assert (end.kind, end.status) == (Kind.END, 504)
        assert b"".join(exchange.pieces) == b"data: 1\n\n" + end.answer
        assert b"too long" in end.answer

    scripted(tmp_path, script)


def test_p4_5_bodies_over_the_limit_are_left_out_and_the_record_says_so(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        for body, reply in ((b"q" * 101, b"a"), (b"q", b"a" * 101), (b"q" * 100, b"a" * 100)):
            call, exchange = bench.call(body=body)
            answer(call, reply)
            await asyncio.sleep(0)
            assert exchange.answers[0].body == reply
        first, second, third = bench.records()
        assert (first.flags, first.request, first.answer) == (Flag.REQUEST_TOO_LARGE, b"", b"a")
        assert (second.flags, second.request, second.answer) == (Flag.ANSWER_TOO_LARGE, b"q", b"")
        assert (third.flags, len(third.request), len(third.answer)) == (Flag(0), 100, 100)

    scripted(tmp_path, script)


def test_p4_5_nothing_is_logged_where_nothing_is_to_be(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call(fraction=0.0)
        answer(call)
        assert exchange.answers, "it leaves at once"
        await asyncio.sleep(0)
        assert segments(tmp_path) == []

    scripted(tmp_path, script)


@dataclass(eq=False)
class AnsweringBackend:
    """Answers every call."""

    entity: RoutedEntity

    def submit(self, call: Call) -> None:
        call.state = CallState.STARTED
        answer(call)


def test_p4_5_a_share_is_drawn(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        draws = iter([0.0, 0.0, 0.0, 0.249, 0.0, 0.25, 0.0, 0.999])  # of the entity, then of the log
        table = CurrentTable(AnsweringBackend)  # type: ignore[arg-type]
        endpoint = RoutedEndpoint(
            "e" * 32,
            "x",
            1,
            (routed("k-0"),),
            queriers=("user_name:ann",),
            log=InferenceLog(TABLE, fraction=0.25),
        )
        table.swap(RoutingTable(1, {"x": endpoint}))
        siblings = Siblings(SocketFolder(tmp_path), ())
        draw = partial(next, draws)
        invocations = Invocations(table, draw, LoadMeter(), bench.orphans, siblings, Captures(bench.spool, 100))
        passage = invocations.passage(Access("ann"), "x", None, Api.INVOCATIONS, None)
        client = FakeClient(begin=lambda exchange: invocations.begin(exchange, passage))
        for body in (b"1", b"2", b"3", b"4"):
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n" + body)
        assert [a.status for a in client.answers()] == [200] * 4
        assert [record.request for record in bench.records()] == [b"1", b"2"]
        assert {context.sampling_fraction for context in bench.contexts()} == {0.25}

    scripted(tmp_path, script)


def test_p4_5_a_client_that_leaves_or_joins_while_the_record_is_written_is_not_forgotten(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        gone, exchange = bench.call(body=b"1")
        answer(gone)
        exchange.leave()
        left, exchange = bench.call(body=b"2")
        exchange.leave()
        answer(left)
        joiner = FakeExchange()
        assert bench.orphans.join(ASKED, b"2", joiner)
        await asyncio.sleep(0)
        assert [a.body for a in joiner.answers] == [b"answer"]
        assert [record.request for record in bench.records()] == [b"1", b"2"]

    scripted(tmp_path, script)


@contextlib.contextmanager
def full_disk(room_bytes: int = 0) -> Iterator[None]:
    """The disk takes so many bytes more, and then refuses."""
    write, left = os.write, room_bytes

    def refusing(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[:left])
        left -= written
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", refusing)
        yield


def test_p5_1_where_it_must_be_logged_nothing_leaves_that_was_not(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        with full_disk():
            strict, refused = bench.call(mode=SpoolMode.STRICT)
            available, answered = bench.call()
            answer(strict)
            answer(available)
            await asyncio.sleep(0)
        (told,) = refused.answers
        assert (told.status, told.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert "could not be logged" in told.json["message"]
        assert [a.status for a in answered.answers] == [200]
        assert sorted(bench.counted) == [200, 503], "metrics count what clients got"
        assert (bench.records(), bench.not_logged()) == ([], 1)

    scripted(tmp_path, script)


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("lost_at", [0, 1, 2])
def test_p5_1_a_stream_goes_on_unlogged_and_counts_once(tmp_path: Path, lost_at: int, turns: int) -> None:
    """Whichever of its records is the first that cannot be written."""

    async def script(bench: Bench) -> None:
        call, exchange = bench.call()
        steps = [
            lambda: call.begin(STREAM, "k-0"),
            lambda: call.take(b"data: 1\n\n"),
            lambda: (call.take(b"data: 2\n\n" + DONE), call.finish(NOTES)),
        ]
        with contextlib.ExitStack() as disk:
            for number, step in enumerate(steps):
                if number == lost_at:
                    await asyncio.sleep(0)
                    disk.enter_context(full_disk())
                step()
                await asyncio.sleep(0) if turns else None
            await asyncio.sleep(0)
        assert b"".join(exchange.pieces) == b"data: 1\n\ndata: 2\n\n" + DONE
        assert (bench.counted, bench.not_logged()) == ([200], 1)
        assert len(bench.records()) == lost_at

    scripted(tmp_path, script)


@pytest.mark.parametrize("lost_at", [0, 1, 2])
def test_p5_1_a_strict_stream_ends_where_it_cannot_be_logged(tmp_path: Path, lost_at: int) -> None:
    async def script(bench: Bench) -> None:
        call, exchange = bench.call(mode=SpoolMode.STRICT)
        stopped: list[bool] = []
        call.watch(lambda: stopped.append(True))
        steps = [
            lambda: call.begin(STREAM, "k-0"),
            lambda: call.take(b"data: 1\n\n"),
            lambda: (call.take(DONE), call.finish(NOTES)),
        ]
        with contextlib.ExitStack() as disk:
            for number, step in enumerate(steps):
                if number == lost_at:
                    disk.enter_context(full_disk())
                step()
                await asyncio.sleep(0)
        sent = b"".join(exchange.pieces)
        assert DONE not in sent
        assert bench.counted == [503]
        assert bench.not_logged() == 0, "what was withheld is not missing"
        if lost_at == 0:
            assert (exchange.head, [a.status for a in exchange.answers]) == (None, [503])
        else:
            assert b"could not be logged" in sent
            assert sent.startswith(b"data: 1\n\n") == (lost_at == 2)
        assert bool(stopped) == (lost_at < 2), "the replica is told, unless it has ended"

    scripted(tmp_path, script)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(0, 3000))
def test_p5_1_whatever_room_is_left_each_call_is_logged_or_counted_or_refused(
    tmp_path_factory: pytest.TempPathFactory, is_strict: list[bool], room_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")

    async def script(bench: Bench) -> None:
        calls = [bench.call(mode=SpoolMode.STRICT if strict else SpoolMode.AVAILABLE) for strict in is_strict]
        with full_disk(room_bytes):
            for call, _ in calls:
                answer(call)
            await asyncio.sleep(0)
        logged = {record.request_id for record in bench.records()}
        for (call, exchange), strict in zip(calls, is_strict, strict=True):
            (told,) = exchange.answers
            assert told.status == (503 if strict and call.request_id not in logged else 200)
        assert bench.not_logged() == sum(
            call.request_id not in logged for (call, _), strict in zip(calls, is_strict, strict=True) if not strict
        )

    scripted(folder, script)
