"""A replica's server as gateways see it: real frames on a real socket, the server in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from penstock.domain.prediction import Api, ExecutorKind
from penstock.wire.frames import (
    CHUNK_BYTES,
    PROTOCOL_VERSION,
    End,
    Error,
    Frame,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    RequestMeta,
    encode,
    encode_meta,
    encode_request,
)
from penstock.wire.sockets import SocketFolder
from unit.worker import replica
from unit.worker.replica import MAX_ANSWER_BYTES, NOTE

STARTED, HEAD, CHUNK, END, ERROR = (
    FrameType.STARTED,
    FrameType.HEAD,
    FrameType.CHUNK,
    FrameType.END,
    FrameType.ERROR,
)
BOTH = pytest.mark.parametrize("kind", list(ExecutorKind))


def request(request_id: int, body: str, meta: RequestMeta = RequestMeta()) -> bytes:  # noqa: B008 - immutable
    """A request's bytes."""
    return b"".join(encode_request(request_id, encode_meta(meta), body.encode()))


class Gateway:
    """A gateway's end of a connection."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(address)
        self._frames = self._read()
        hello = next(self._frames)
        assert hello.type is FrameType.HELLO
        self.hello = msgspec.json.decode(hello.payload, type=Hello)

    def ask(self, request_id: int, body: str, meta: RequestMeta = RequestMeta()) -> None:  # noqa: B008 - immutable
        """Send a request."""
        self.send(request(request_id, body, meta))

    def cancel(self, request_id: int) -> None:
        """Send a CANCEL."""
        self.send(encode(FrameType.CANCEL, request_id))

    def send(self, data: bytes) -> None:
        """Send bytes, which may be no frame."""
        self._socket.sendall(data)

    def frame(self) -> Frame:
        """The next frame."""
        return next(self._frames)

    def answer(self, request_id: int) -> list[Frame]:
        """All frames up to the end of a request; there must be none of any other."""
        frames = []
        while not frames or frames[-1].type not in {END, ERROR}:
            frames.append(self.frame())
        assert {frame.request_id for frame in frames} == {request_id}
        return frames

    def is_closed(self) -> bool:
        """Whether the replica ends the connection, and sends nothing more before that."""
        return next(self._frames, None) is None

    def close(self) -> None:
        """Go away."""
        self._socket.close()

    def _read(self) -> Iterator[Frame]:
        decoder = FrameDecoder()
        while data := self._socket.recv(1 << 20):
            yield from decoder.feed(data)


@dataclass
class Replica:
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    _stack: ExitStack = field(default_factory=ExitStack)

    def gateway(self) -> Gateway:
        """A new connection."""
        gateway = Gateway(self.address)
        self._stack.callback(gateway.close)
        return gateway

    def fifo(self, name: str) -> Path:
        """A FIFO on which the model waits until it is released."""
        path = self.folder / name
        os.mkfifo(path)
        return path

    def end(self) -> None:
        """Kill it."""
        self._stack.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def running(tmp_path: Path) -> Iterator["Start"]:
    """Starts servers."""
    start = Start(tmp_path)
    yield start
    for each in start.replicas:
        each.end()


@dataclass
class Start:
    """Starts servers on sockets of a folder."""

    folder: Path
    replicas: list[Replica] = field(default_factory=list)

    def __call__(self, kind: ExecutorKind) -> Replica:
        """A server with this executor."""
        address = SocketFolder(self.folder).address("r.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            os.set_inheritable(listener.fileno(), True)
            command = [sys.executable, replica.__file__, str(listener.fileno()), kind]
            process = subprocess.Popen(command, pass_fds=(listener.fileno(),))
        self.replicas.append(Replica(process, address, self.folder))
        return self.replicas[-1]


def release(fifo: Path, data: bytes = b"released") -> None:
    """Let a model go on that waits on a FIFO; waits until it does so."""
    fifo.write_bytes(data)


def types(frames: list[Frame]) -> list[FrameType]:
    """What the frames are."""
    return [frame.type for frame in frames]


def body_of(frames: list[Frame]) -> bytes:
    """What the chunks hold."""
    return b"".join(frame.payload for frame in frames if frame.type is CHUNK)


@pytest.mark.parametrize(("kind", "slots"), [(ExecutorKind.PROCESS, 1), (ExecutorKind.THREADS, 4)])
def test_hello_tells_what_the_replica_takes(running: Start, kind: ExecutorKind, slots: int) -> None:
    server = running(kind)
    assert server.gateway().hello == Hello(PROTOCOL_VERSION, slots, 4, server.process.pid)


@BOTH
def test_a_whole_answer_with_its_notes(running: Start, kind: ExecutorKind) -> None:
    gateway = running(kind).gateway()
    gateway.ask(7, "echo hello", RequestMeta(api=Api.CHAT, request_id="r-1", endpoint="e"))
    started, head, chunk, end = gateway.answer(7)
    assert started == Frame(STARTED, 7, b"")
    assert (head.type, msgspec.json.decode(head.payload, type=Head)) == (HEAD, Head(200, "application/json"))
    assert chunk == Frame(CHUNK, 7, b"hello chat/completions r-1 e")
    told = msgspec.json.decode(end.payload, type=End)
    assert (end.type, told.execution_us > 0) == (END, True)
    assert (told.client_request_id, told.usage_context) == (NOTE.client_request_id, NOTE.usage_context)
    assert (told.input_tokens, told.output_tokens) == (NOTE.input_tokens, NOTE.output_tokens)


@BOTH
def test_the_start_of_the_work_is_told_before_the_work_is_done(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    gateway, fifo = server.gateway(), server.fifo("hold")
    gateway.ask(1, f"hold {fifo}")
    assert gateway.frame() == Frame(STARTED, 1, b"")
    release(fifo)
    assert body_of(gateway.answer(1)) == b"released"


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (0, []),
        (1, [1]),
        (CHUNK_BYTES, [CHUNK_BYTES]),
        (CHUNK_BYTES + 1, [CHUNK_BYTES, 1]),
        (MAX_ANSWER_BYTES, [CHUNK_BYTES] * 3),
    ],
)
def test_an_answer_is_cut_into_chunks_of_at_most_a_mebibyte(running: Start, size: int, chunks: list[int]) -> None:
    gateway = running(ExecutorKind.PROCESS).gateway()
    gateway.ask(1, f"bytes {size}")
    frames = gateway.answer(1)
    assert [len(frame.payload) for frame in frames if frame.type is CHUNK] == chunks
    assert body_of(frames) == bytes(size)


def test_an_answer_over_the_limit_is_refused_and_nobody_elses_fault(running: Start) -> None:
    gateway = running(ExecutorKind.PROCESS).gateway()
    gateway.ask(1, f"bytes {MAX_ANSWER_BYTES + 1}")
    frames = gateway.answer(1)
    assert types(frames) == [STARTED, HEAD, CHUNK, END]
    assert msgspec.json.decode(frames[1].payload, type=Head) == Head(400, "application/json")
    error = msgspec.json.decode(body_of(frames))
    assert error["error_code"] == "BAD_REQUEST"
    assert str(MAX_ANSWER_BYTES + 1) in error["message"]
    gateway.ask(2, "echo")
    assert types(gateway.answer(2)) == [STARTED, HEAD, CHUNK, END]


@BOTH
def test_a_streams_pieces_leave_as_they_are_made(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    gateway, fifo = server.gateway(), server.fifo("lines")
    gateway.ask(3, f"lines {fifo}")
    assert gateway.frame() == Frame(STARTED, 3, b"")
    head = gateway.frame()
    assert msgspec.json.decode(head.payload, type=Head) == Head(200, "text/event-stream", is_stream=True)
    with fifo.open("wb", buffering=0) as lines:
        for line in (b"one\n", b"two\n"):
            lines.write(line)
            assert gateway.frame() == Frame(CHUNK, 3, line)
    end = gateway.frame()
    assert (end.type, msgspec.json.decode(end.payload, type=End).output_tokens) == (END, 9)


@BOTH
def test_a_cancelled_stream_ends_early_and_is_closed(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    gateway, marker = server.gateway(), server.folder / "closed"
    gateway.ask(1, f"endless {marker}")
    begun = [gateway.frame() for _ in range(4)]
    assert types(begun) == [STARTED, HEAD, CHUNK, CHUNK]
    gateway.cancel(1)
    assert gateway.answer(1)[-1].type is END
    assert marker.exists(), "the model's generator is closed by then"
    gateway.ask(2, "echo more")
    assert body_of(gateway.answer(2)).startswith(b"more")


def test_a_stream_of_the_process_executor_ends_with_the_piece_after_its_cancellation_at_the_latest(
    running: Start,
) -> None:
    server = running(ExecutorKind.PROCESS)
    gateway, fifo = server.gateway(), server.fifo("lines")
    gateway.ask(1, f"lines {fifo}")
    with fifo.open("wb", buffering=0) as lines:
        lines.write(b"one\n")
        begun = [gateway.frame() for _ in range(3)]
        assert types(begun) == [STARTED, HEAD, CHUNK]
        gateway.cancel(1)  # it may be seen before the model is asked for its next piece, or after
        lines.write(b"two\nthree\n")
        assert types(gateway.answer(1)) in ([END], [CHUNK, END])


@BOTH
def test_a_cancellation_ends_neither_a_whole_answer_nor_the_stream_of_another_gateway(
    running: Start, kind: ExecutorKind
) -> None:
    server = running(kind)
    mine, other = server.gateway(), server.gateway()
    fifo, hold = server.fifo("lines"), server.fifo("hold")
    mine.ask(1, f"lines {fifo}")
    with fifo.open("wb", buffering=0) as lines:
        lines.write(b"one\n")
        assert types([mine.frame() for _ in range(3)]) == [STARTED, HEAD, CHUNK]
        other.cancel(1)
        lines.write(b"two\n")
        assert mine.frame().type is CHUNK
        lines.write(b"three\n")
        assert mine.frame().type is CHUNK
    assert mine.frame().type is END
    mine.ask(2, f"hold {hold}")
    assert mine.frame().type is STARTED
    mine.cancel(2)
    release(hold, b"all of it")
    assert body_of(mine.answer(2)) == b"all of it"


@pytest.mark.parametrize(("kind", "slots"), [(ExecutorKind.PROCESS, 1), (ExecutorKind.THREADS, 4)])
def test_a_cancelled_request_that_waits_is_never_begun(running: Start, kind: ExecutorKind, slots: int) -> None:
    server = running(kind)
    gateway, marker = server.gateway(), server.folder / "begun"
    holds = [server.fifo(f"hold-{place}") for place in range(slots)]
    for place, hold in enumerate(holds):
        gateway.ask(place, f"hold {hold}")
    assert types([gateway.frame() for _ in holds]) == [STARTED] * slots
    gateway.ask(50, f"touch {marker}")
    gateway.ask(51, "echo after")
    gateway.cancel(50)
    for hold in holds:
        release(hold)
    ended = set()
    while 51 not in ended:
        frame = gateway.frame()
        assert frame.request_id != 50
        ended |= {frame.request_id} if frame.type is END else set()
    assert not marker.exists()


def test_the_process_executor_works_on_one_request_at_a_time_in_the_order_they_came(running: Start) -> None:
    server = running(ExecutorKind.PROCESS)
    gateway = server.gateway()
    holds = [server.fifo(f"hold-{place}") for place in range(3)]
    for place, hold in enumerate(holds):
        gateway.ask(place, f"hold {hold}")
    for hold in holds:
        release(hold)
    for place in range(3):
        assert types(gateway.answer(place)) == [STARTED, HEAD, CHUNK, END]


def test_four_threads_work_at_once_and_a_fifth_request_waits_for_the_first_to_end(running: Start) -> None:
    server = running(ExecutorKind.THREADS)
    gateway = server.gateway()
    holds = [server.fifo(f"hold-{place}") for place in range(5)]
    for place, hold in enumerate(holds):
        gateway.ask(place, f"hold {hold}")
    assert {gateway.frame() for _ in range(4)} == {Frame(STARTED, place, b"") for place in range(4)}
    release(holds[2], b"two")
    assert body_of(gateway.answer(2)) == b"two"
    assert gateway.frame() == Frame(STARTED, 4, b"")
    for place in (4, 3, 1, 0):
        release(holds[place], b"%d" % place)
        assert body_of(gateway.answer(place)) == b"%d" % place


def test_pieces_of_two_streams_interleave_and_a_whole_answer_passes_them(running: Start) -> None:
    server = running(ExecutorKind.THREADS)
    gateway = server.gateway()
    first, second = server.fifo("first"), server.fifo("second")
    for request_id, fifo in ((1, first), (2, second)):
        gateway.ask(request_id, f"lines {fifo}")
        assert types([gateway.frame(), gateway.frame()]) == [STARTED, HEAD]
    with first.open("wb", buffering=0) as one, second.open("wb", buffering=0) as two:
        for lines, request_id in ((one, 1), (two, 2), (one, 1)):
            lines.write(b"line\n")
            assert gateway.frame() == Frame(CHUNK, request_id, b"line\n")
        gateway.ask(3, "echo between")
        assert types(gateway.answer(3)) == [STARTED, HEAD, CHUNK, END]
    assert {gateway.frame().request_id, gateway.frame().request_id} == {1, 2}


@pytest.mark.parametrize(
    ("body", "before"), [("exit 3", [STARTED]), ("doomed {marker}", [STARTED, HEAD, CHUNK])], ids=["whole", "stream"]
)
def test_a_model_that_exits_in_a_thread_takes_nothing_else_with_it(
    running: Start, body: str, before: list[FrameType]
) -> None:
    server = running(ExecutorKind.THREADS)
    gateway, marker = server.gateway(), server.folder / "closed"
    hold = server.fifo("hold")
    gateway.ask(1, f"hold {hold}")
    assert gateway.frame().type is STARTED
    for request_id in range(2, 12):  # more often than there are threads
        gateway.ask(request_id, body.format(marker=marker))
        *frames, error = gateway.answer(request_id)
        assert types(frames) == before
        assert error.type is ERROR
        assert "SystemExit" in msgspec.json.decode(error.payload, type=Error).message
    release(hold, b"unharmed")
    assert body_of(gateway.answer(1)) == b"unharmed"
    assert marker.exists() == (CHUNK in before)


def test_a_model_that_exits_in_the_process_executor_ends_its_replica(running: Start) -> None:
    server = running(ExecutorKind.PROCESS)
    gateway = server.gateway()
    gateway.ask(1, "exit 3")
    assert gateway.frame().type is STARTED
    assert gateway.is_closed()
    assert server.process.wait(20) == 3


@BOTH
def test_a_gateway_that_goes_away_ends_its_stream(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    gone, stays = server.gateway(), server.gateway()
    markers = [server.folder / f"closed-{place}" for place in range(stays.hello.slots)]
    for place, marker in enumerate(markers):
        gone.ask(place, f"endless {marker}")
    streaming: set[int] = set()
    while len(streaming) < len(markers):
        frame = gone.frame()
        streaming |= {frame.request_id} if frame.type is CHUNK else set()
    gone.close()
    holds = [server.fifo(f"hold-{place}") for place in range(stays.hello.slots)]
    for place, hold in enumerate(holds):
        stays.ask(place, f"hold {hold}")
    assert types([stays.frame() for _ in holds]) == [STARTED] * len(holds), "every slot is free again"
    assert all(marker.exists() for marker in markers), "the model's generators are closed"
    for hold in holds:
        release(hold)


@BOTH
def test_what_waits_for_a_gateway_that_went_away_is_never_begun(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    gone, stays = server.gateway(), server.gateway()
    begun = server.folder / "begun"
    holds = [server.fifo(f"hold-{place}") for place in range(stays.hello.slots)]
    bodies = [*(f"hold {hold}" for hold in holds), f"touch {begun}"]
    gone.send(b"".join(request(place, body) for place, body in enumerate(bodies)))
    assert types([gone.frame() for _ in holds]) == [STARTED] * len(holds)
    gone.close()
    if kind is ExecutorKind.THREADS:
        server.gateway()  # its HELLO comes from the loop, which sees with it that the other is gone
    for hold in holds:
        release(hold)
    stays.ask(1, "echo still here")
    assert body_of(stays.answer(1)).startswith(b"still here")
    assert not begun.exists()


@BOTH
def test_a_gateway_that_sends_no_frames_is_left_and_no_other(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    broken, other = server.gateway(), server.gateway()
    broken.send(b"\xff" * 64)
    assert broken.is_closed()
    other.ask(1, "echo")
    assert types(other.answer(1)) == [STARTED, HEAD, CHUNK, END]


@BOTH
def test_told_to_end_a_replica_serves_on_until_its_gateways_have_left(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    first, second = server.gateway(), server.gateway()
    hold = server.fifo("hold")
    first.ask(1, f"hold {hold}")
    assert first.frame().type is STARTED
    server.process.send_signal(signal.SIGTERM)
    release(hold, b"begun before")
    frames = [first.frame() for _ in range(4)]
    goodbye = next(frame for frame in frames if frame.type is FrameType.HELLO)
    assert msgspec.json.decode(goodbye.payload, type=Hello).slots == 0
    assert body_of([frame for frame in frames if frame is not goodbye]) == b"begun before"
    first.ask(2, "echo sent before it knew")
    assert body_of(first.answer(2)).startswith(b"sent before it knew")
    first.close()
    assert second.frame().type is FrameType.HELLO
    second.ask(1, "echo second")
    assert body_of(second.answer(1)).startswith(b"second")
    assert server.process.poll() is None
    second.close()
    assert server.process.wait(20) == 0


@BOTH
def test_an_idle_replica_without_gateways_ends_when_it_is_told_to(running: Start, kind: ExecutorKind) -> None:
    server = running(kind)
    server.gateway().close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
