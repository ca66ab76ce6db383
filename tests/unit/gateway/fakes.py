"""What stands around the gateway's parts: a transport, a client's exchange, a replica."""

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from penstock.gateway.call import Call, OnEnd, Recipient
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.http import HttpConnection
from penstock.gateway.sinks import WholeBody
from penstock.wire.frames import (
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
    encode_struct,
    split_request,
)


class FakeTransport(asyncio.Transport):
    """Collects what is written; closes like a real one, a turn of the loop later."""

    def __init__(self, connection: HttpConnection) -> None:
        super().__init__()
        self._connection = connection
        self.sent = bytearray()
        self.is_reading = True
        self.has_sent_eof = False
        self.is_closed = False
        self.was_aborted = False
        self.waits_for_client = False
        """Whether a close is not done before the client closes."""
        self.unsent_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.has_sent_eof, "nothing may follow the end of what we send"
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_sent_eof = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            if not self.waits_for_client:
                asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)

    def abort(self) -> None:
        self.was_aborted = True
        if self.is_closed and self.waits_for_client:
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)
        self.close()

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


@dataclass
class Answer:
    """One answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


CONTINUE = 100


def read_answers(sent: bytes, methods: Iterable[str] = ()) -> list[Answer]:
    """Everything that a server sent, read as a strict client would."""
    answers: list[Answer] = []
    bodiless = [method == "HEAD" for method in methods]
    rest = bytes(sent)
    while rest:
        head, separator, rest = rest.partition(b"\r\n\r\n")
        assert separator, f"half a head: {head!r}"
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header came twice: {pairs}"
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        body = b""
        final = sum(answer.status != CONTINUE for answer in answers)
        if int(status) == CONTINUE or (final < len(bodiless) and bodiless[final]):
            pass
        elif headers.get("transfer-encoding") == "chunked":
            body, rest = _unchunked(rest)
        else:
            length = int(headers.get("content-length", len(rest)))
            body, rest = rest[:length], rest[length:]
            assert len(body) == length, "half a body"
        answers.append(Answer(int(status), headers, body))
    return answers


def _unchunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, rest = rest.split(b"\r\n", 1)
        size = int(line, 16)
        body += rest[:size]
        assert rest[size : size + 2] == b"\r\n"
        rest = rest[size + 2 :]
        if size == 0:
            return body, rest


Then = Callable[[Exchange, bytes], None]


def echo(exchange: Exchange, body: bytes) -> None:
    """Answer with what came."""
    document = {
        "method": exchange.method.decode(),
        "target": exchange.target.decode(),
        "headers": sorted([n.decode("latin-1").lower(), v.decode("latin-1")] for n, v in exchange.headers),
        "body": body.decode("latin-1"),
    }
    exchange.respond(200, json.dumps(document).encode())


class FakeClient:
    """A client of one HttpConnection; must be made on a running loop."""

    def __init__(
        self, then: Then = echo, *, limit_bytes: int = 1 << 20, begin: Callable[[Exchange], Sink] | None = None
    ) -> None:
        def whole(exchange: Exchange) -> Sink:
            return WholeBody(exchange, limit_bytes, lambda body: then(exchange, body))

        self.connections: set[HttpConnection] = set()
        self.connection = HttpConnection(begin or whole, self.connections)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)

    async def send(self, *pieces: bytes) -> None:
        """Send these pieces, one a turn of the loop, as long as the server reads."""
        for piece in pieces:
            for _ in range(100):
                if self.transport.is_reading or self.transport.is_closed:
                    break
                await asyncio.sleep(0)
            else:
                raise AssertionError("the server does not read on")
            if self.transport.is_closed:
                break
            self.connection.data_received(piece)
            await asyncio.sleep(0)
        await self.settle()

    async def settle(self) -> None:
        """Let everything happen that is under way."""
        for _ in range(10):
            await asyncio.sleep(0)

    def answers(self, *methods: str) -> list[Answer]:
        """What came back so far."""
        return read_answers(self.transport.sent, methods)

    @property
    def is_told_to_close(self) -> bool:
        """Whether the server has ended its side."""
        return self.transport.is_closed or self.transport.has_sent_eof


class FakeExchange:
    """The exchange of a call: keeps the answer."""

    def __init__(self) -> None:
        self.is_open = True
        self.on_gone: Callable[[], None] | None = None
        self.head: tuple[int, dict[str, str]] | None = None
        """Status and headers of a stream, as soon as it has begun."""
        self.pieces: list[bytes] = []
        self.was_broken_off = False
        self.unsent_bytes = 0
        self.answers: list[Answer] = []
        self._answered = asyncio.Event()

    def respond(self, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        """Take the answer."""
        assert not self.answers, "a request is answered once"
        self.answers.append(Answer(status, dict(headers), body))
        self._answered.set()

    def begin_stream(self, status: int, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the head of a stream."""
        assert self.head is None, "a stream begins once"
        self.head = status, {name.decode(): value.decode() for name, value in raw_headers}

    def push(self, data: bytes) -> int:
        """Take a piece of a stream."""
        assert self.is_open, "nobody is there any more"
        self.pieces.append(data)
        return self.unsent_bytes

    def end_stream(self) -> None:
        """Take the end of a stream."""
        assert self.head is not None, "only what has begun can end"
        status, headers = self.head
        self.respond(status, b"".join(self.pieces), headers.items())

    def break_off(self) -> None:
        """The connection is cut."""
        self.was_broken_off = True
        self.leave()

    def leave(self) -> None:
        """The client goes away."""
        self.is_open = False
        if self.on_gone is not None:
            self.on_gone()

    async def answer(self) -> Answer:
        """The answer, once it is there."""
        await asyncio.wait_for(self._answered.wait(), 10)
        return self.answers[0]


META = RequestMeta()


def make_call(
    body: bytes = b"{}",
    entity_name: str = "m-1",
    on_end: OnEnd | None = None,
    stand_in: Callable[[Call], Recipient] | None = None,
) -> tuple[Call, FakeExchange]:
    """A call, and where its answer goes."""
    exchange = FakeExchange()
    return Call(exchange, entity_name, META, body, on_end, stand_in), exchange


@dataclass(frozen=True)
class Job:
    """A request that has come to a replica."""

    peer: asyncio.StreamWriter
    request_id: int
    body: bytes


@dataclass
class FakeReplica:
    """A replica on a real socket that does what the test says. `pid` is what its HELLO tells."""

    address: str
    slots: int = 1
    window: int = 0
    pid: int = 4242
    protocol: int = PROTOCOL_VERSION
    is_idempotent: bool = False
    jobs: asyncio.Queue[Job] = field(default_factory=asyncio.Queue)
    """Requests in the order in which they came."""
    cancelled: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    """Request ids of CANCELs."""
    connections: int = 0
    """How often a gateway has connected."""
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """A gateway has closed its connection."""
    _peers: list[asyncio.StreamWriter] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def start(self) -> "FakeReplica":
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self.address)
        return self

    async def die(self) -> None:
        """Close everything, as a process that is killed does."""
        assert self._server is not None
        self._server.close()
        for peer in self._peers:
            peer.transport.abort()
        self._peers.clear()

    def say_goodbye(self) -> None:
        """Tell all gateways that there is no room any more."""
        for peer in self._peers:
            peer.write(encode_struct(FrameType.HELLO, 0, Hello(self.protocol, 0, 0, self.pid, self.is_idempotent)))

    async def job(self) -> Job:
        """The next request."""
        return await asyncio.wait_for(self.jobs.get(), 5)

    def begin(self, job: Job) -> None:
        """Say that the work on it has begun."""
        job.peer.write(encode(FrameType.STARTED, job.request_id))

    def finish(self, job: Job, status: int = 200, body: bytes | None = None) -> None:
        """Answer; echoes by default."""
        head = encode_struct(FrameType.HEAD, job.request_id, Head(status, "application/json"))
        chunk = encode(FrameType.CHUNK, job.request_id, job.body if body is None else body)
        job.peer.write(head + chunk + encode_struct(FrameType.END, job.request_id, End(1)))

    def begin_stream(self, job: Job) -> None:
        """Begin an answer that leaves piece by piece."""
        self.begin(job)
        head = Head(200, "text/event-stream", is_stream=True)
        job.peer.write(encode_struct(FrameType.HEAD, job.request_id, head))

    def piece(self, job: Job, data: bytes) -> None:
        """A piece of a stream."""
        job.peer.write(encode(FrameType.CHUNK, job.request_id, data))

    def end(self, job: Job) -> None:
        """The end of a stream."""
        job.peer.write(encode_struct(FrameType.END, job.request_id, End(1)))

    def answer(self, job: Job) -> None:
        """Begin and finish."""
        self.begin(job)
        self.finish(job)

    def fail(self, job: Job, message: str) -> None:
        """Say that it could not be answered."""
        job.peer.write(encode_struct(FrameType.ERROR, job.request_id, Error(message)))

    async def answer_everything(self) -> None:
        """Answer whatever comes, until cancelled."""
        while True:
            self.answer(await self.jobs.get())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.append(writer)
        self.connections += 1
        writer.write(
            encode_struct(
                FrameType.HELLO, 0, Hello(self.protocol, self.slots, self.window, self.pid, self.is_idempotent)
            )
        )
        decoder = FrameDecoder()
        try:
            while data := await reader.read(1 << 16):
                for frame in decoder.feed(data):
                    self._take(writer, frame)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the test is over, or the replica died
        finally:
            self.lost.set()
            writer.close()

    def _take(self, writer: asyncio.StreamWriter, frame: Frame) -> None:
        if frame.type is FrameType.REQUEST:
            _, body = split_request(frame.payload)
            self.jobs.put_nowait(Job(writer, frame.request_id, body))
        elif frame.type is FrameType.CANCEL:
            self.cancelled.put_nowait(frame.request_id)
