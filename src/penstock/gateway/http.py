"""HTTP/1.1 for clients: bytes in, exchanges out; answers leave in the order in which requests came.

A connection works on one exchange at a time. What a client sends ahead (pipelining) is parsed and waits, and reading
pauses until its turn has come. Where an exchange's body goes is decided when its headers are there: `begin` returns a
sink, which takes the body whole, streams it, or throws it away.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Protocol, cast

import httptools

from penstock.domain.errors import BadRequest, InternalError, PayloadTooLarge, PenstockError, ResourceExhausted
from penstock.wire.errors import body_of, headers_of, status_of

MAX_HEAD_BYTES = 64 << 10
_LINGER_S = 2.0

_log = logging.getLogger(__name__)

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_OFFER_HEADERS = frozenset((b"connection", b"upgrade", b"http2-settings"))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON = (("content-type", "application/json"),)

Headers = Iterable[tuple[str, str]]


class Sink(Protocol):
    """Where an exchange's body goes."""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""

    def complete(self) -> None:
        """The body is whole."""

    def abandon(self) -> None:
        """The client is gone."""


class Exchange:
    """One request and the answer to it."""

    __slots__ = (
        "_budget",
        "_connection",
        "_flaw",
        "_has_head",
        "_held",
        "_is_chunked",
        "_is_finished",
        "_sink",
        "_unfed",
        "authorization",
        "content_length",
        "content_type",
        "expects_continue",
        "headers",
        "is_complete",
        "is_open",
        "keep_alive",
        "method",
        "target",
        "version",
    )

    def __init__(self, connection: "HttpConnection") -> None:
        self._connection = connection
        self.method = b""
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.authorization: bytes | None = None
        self.content_type: bytes | None = None
        self.content_length: int | None = None
        self.expects_continue = False
        self.keep_alive = True
        self.is_complete = False
        self.is_open = True
        self._sink: Sink | None = None
        self._unfed: list[bytes] = []
        self._flaw: PenstockError | None = None
        self._budget: BodyBudget | None = None
        self._held = 0
        self._has_head = False
        self._is_chunked = False
        self._is_finished = False

    @property
    def has_begun_to_answer(self) -> bool:
        """Whether any byte of the answer has been written."""
        return self._has_head

    def accept_body(self) -> None:
        """Tell a client that waits for it that it may send the body."""
        if self.expects_continue and self.is_open:
            self.expects_continue = False
            self._connection.write(_CONTINUE)

    def respond(self, status: int, body: bytes, headers: Headers = _JSON) -> None:
        """Send a whole answer."""
        if self._is_finished:
            return
        self._has_head = True
        lines = [_STATUS_LINES[status]]
        lines += [f"{name}: {value}\r\n".encode("latin-1", "replace") for name, value in headers]
        lines.append(b"content-length: %d\r\n" % len(body))
        lines.append(self._connection_header())
        lines.append(b"\r\n")
        if self.method != b"HEAD":
            lines.append(body)
        self._connection.write(b"".join(lines))
        self._finish()

    def refuse(self, error: PenstockError, headers: Mapping[str, str] | None = None) -> None:
        """Send an error as the whole answer."""
        extra = {**headers_of(error), **(headers or {})}
        self.respond(status_of(error), body_of(error), (*_JSON, *extra.items()))

    def begin_stream(self, status: int, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send status and headers as they are; `write` and `end_stream` follow."""
        self._has_head = True
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        has_length = False
        for name, value in raw_headers:
            has_length = has_length or name.lower() == b"content-length"
            lines.append(b"%b: %b\r\n" % (name, value))
        bodiless = self.method == b"HEAD" or status in (204, 304)
        if not has_length and not bodiless:
            if self.version == "1.0":
                self.keep_alive = False
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(self._connection_header())
        lines.append(b"\r\n")
        self._connection.write(b"".join(lines))

    async def write(self, data: bytes) -> None:
        """Send a piece of the streamed body; waits while the client is slow."""
        if data:
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
            await self._connection.drained()

    def end_stream(self) -> None:
        """The streamed body is whole."""
        if not self._is_finished:
            if self._is_chunked:
                self._connection.write(b"0\r\n\r\n")
            self._finish()

    def break_off(self) -> None:
        """Cut the connection: the answer has begun and cannot be completed."""
        self._connection.abort()

    def hold(self, budget: "BodyBudget", size: int) -> bool:
        """Take a share of a budget until this exchange ends; False if there is not so much left."""
        if not budget.take(size):
            return False
        self._budget = budget
        self._held += size
        return True

    def pause_body(self, is_paused: bool) -> None:
        """Stop or resume reading from the client."""
        self._connection.pause_body(is_paused)

    def _connection_header(self) -> bytes:
        """What the client is to know of the connection; decides whether it stays open."""
        if not self.is_complete or self._connection.is_draining:
            self.keep_alive = False
        if not self.keep_alive:
            return b"connection: close\r\n"
        return b"connection: keep-alive\r\n" if self.version == "1.0" else b""

    def _finish(self) -> None:
        self._end()
        self._connection.finish(self)

    def _end(self) -> None:
        self._is_finished = True
        if self._budget is not None:
            self._budget.give_back(self._held)
            self._budget, self._held = None, 0

    def begin(self, choose_sink: "Begin") -> None:
        """It is this exchange's turn."""
        if self._flaw is not None:
            self.refuse(self._flaw)
            return
        with self._answering_for_mistakes():
            self._sink = choose_sink(self)
            for data in self._unfed:
                self._sink.feed(data)
            self._unfed.clear()
            if self.is_complete:
                self._sink.complete()

    def spoil(self, error: PenstockError) -> None:
        """What came of it is no HTTP: refuse it, now or when its turn has come."""
        self._flaw = error
        if self._sink is not None:
            self._sink.abandon()
            if self._has_head:
                self._connection.abort()
            else:
                self.refuse(error)

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        if self._sink is None:
            self._unfed.append(data)
        else:
            with self._answering_for_mistakes():
                self._sink.feed(data)

    def complete(self) -> None:
        """The body's end came."""
        self.is_complete = True
        if self._sink is not None:
            with self._answering_for_mistakes():
                self._sink.complete()

    @contextmanager
    def _answering_for_mistakes(self) -> Iterator[None]:
        """A mistake of ours is logged and answered with 500: no client is left waiting for it."""
        try:
            yield
        except Exception as exc:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            _log.exception("a request could not be handled")
            self.keep_alive = False
            if self._has_head:
                self._connection.abort()
            else:
                self.refuse(InternalError(f"The gateway failed on this request: {type(exc).__name__}."))

    def abandon(self) -> None:
        """The client is gone."""
        self.is_open = False
        self._end()
        if self._sink is not None:
            self._sink.abandon()


Begin = Callable[[Exchange], Sink]


class HttpConnection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, begin: Begin, connections: "set[HttpConnection]") -> None:
        self._begin = begin
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()
        self._parsing: Exchange | None = None
        self._offer: Exchange | None = None
        self._head_bytes = 0
        self._head_fed = 0
        self._body_is_paused = False
        self._is_deaf = False
        self._writable: asyncio.Future[None] | None = None
        self.is_draining = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the interface and another base
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connections.discard(self)
        self._transport = None
        self.resume_writing()
        exchanges, self._exchanges = list(self._exchanges), deque()
        for exchange in exchanges:
            exchange.abandon()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_deaf:
            return
        unfinished = self._parsing
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._decline_offer(data[exc.args[0] :])
            return
        except httptools.HttpParserError as exc:
            cause = exc.__context__  # of our own callbacks, which raise what a caller is told
            self._give_up(cause if isinstance(cause, PenstockError) else BadRequest(f"Not HTTP/1.1: {exc}."))
            return
        if unfinished is not None and unfinished is self._parsing:
            self._head_fed += len(data)  # all of it is head, perhaps of one endless header
            if self._head_fed > MAX_HEAD_BYTES:
                self._give_up(_head_too_large())
                return
        self._adjust_reading()

    def on_message_begin(self) -> None:
        """A request begins (called by the parser)."""
        self._parsing = Exchange(self)
        self._head_bytes = 0
        self._head_fed = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target (called by the parser)."""
        if self._parsing is not None:
            self._parsing.target += url
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header (called by the parser)."""
        exchange = self._parsing
        if exchange is None:
            return  # a trailer after a chunked body: nobody asked for it
        exchange.headers.append((name, value))
        self._count_head(len(name) + len(value) + 4)
        match name.lower():
            case b"authorization":
                exchange.authorization = value
            case b"content-type":
                exchange.content_type = value
            case b"content-length":
                exchange.content_length = int(value)
            case b"expect":
                exchange.expects_continue = value.lower() == b"100-continue"

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        """The head is whole (called by the parser)."""
        exchange = self._parsing
        if exchange is None:
            return
        self._parsing = None
        if self._is_deaf:
            return
        exchange.method = self._parser.get_method()
        exchange.version = self._parser.get_http_version()
        exchange.keep_alive = self._parser.should_keep_alive()
        if exchange.method == b"CONNECT":
            exchange.keep_alive = False
        elif self._parser.should_upgrade():
            self._offer = exchange
            return
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin(self._begin)

    def on_body(self, data: bytes) -> None:
        """A piece of the body (called by the parser)."""
        if self._exchanges:
            self._exchanges[-1].feed(data)

    def on_message_complete(self) -> None:
        """The request is whole (called by the parser)."""
        if self._exchanges and not self._exchanges[-1].is_complete:
            self._exchanges[-1].complete()

    def write(self, data: bytes) -> None:
        """Send bytes, if the client is still there."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self, exchange: Exchange) -> None:
        """The exchange at the head has been answered: close, or begin the next."""
        if self._transport is None or not self._exchanges:
            return
        self._exchanges.popleft()
        self._body_is_paused = False
        if not exchange.keep_alive or self.is_draining:
            self._close(lingering=not exchange.is_complete)
        elif self._exchanges:
            asyncio.get_running_loop().call_soon(self._begin_next)
        self._adjust_reading()

    def _begin_next(self) -> None:
        if self._exchanges:
            self._exchanges[0].begin(self._begin)
            self._adjust_reading()

    def drain(self) -> None:
        """Close as soon as what has begun is answered."""
        self.is_draining = True
        if not self._exchanges:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_body(self, is_paused: bool) -> None:
        """Stop or resume reading, for the sake of a sink that is full."""
        self._body_is_paused = is_paused
        self._adjust_reading()

    def pause_writing(self) -> None:
        """The client is slow (called by the transport)."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The client has caught up (called by the transport)."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    async def drained(self) -> None:
        """Wait until the client has caught up or is gone."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def _adjust_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._body_is_paused or len(self._exchanges) > 1:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _give_up(self, error: PenstockError) -> None:
        """What comes is no HTTP: say so after what is being answered, and close."""
        is_over = self._is_deaf or (self._exchanges and not self._exchanges[-1].keep_alive)
        self._is_deaf = True
        self._parsing = None
        if is_over and not (self._exchanges and not self._exchanges[-1].is_complete):
            return  # nothing is to follow the last answer
        if not self._exchanges or self._exchanges[-1].is_complete:
            self._exchanges.append(Exchange(self))
        broken = self._exchanges[-1]
        broken.spoil(error)
        if self._exchanges and broken is self._exchanges[0]:
            broken.begin(self._begin)

    def _decline_offer(self, rest: bytes) -> None:
        """Another protocol was offered: go on with HTTP/1.1, as a server may.

        The parser stops after the head of such a request, so the same head without the offer is given to a new one.
        """
        offer, self._offer = self._offer, None
        if offer is None:  # CONNECT: what follows is for a tunnel that we do not open
            self._is_deaf = True
            return
        self._parser = httptools.HttpRequestParser(self)
        head = [b"%b %b HTTP/1.1\r\n" % (offer.method, offer.target)]
        head += [b"%b: %b\r\n" % pair for pair in offer.headers if pair[0].lower() not in _OFFER_HEADERS]
        if any(name.lower() == b"connection" and b"close" in value.lower() for name, value in offer.headers):
            head.append(b"connection: close\r\n")
        self.data_received(b"".join(head) + b"\r\n" + rest)

    def _close(self, *, lingering: bool = False) -> None:
        """Close after what was written has been sent.

        A client that is still sending would have its answer torn away by a hard close: it gets a while to read it.
        """
        if self._transport is None:
            return
        self._is_deaf = True
        if not lingering:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)


def _head_too_large() -> BadRequest:
    return BadRequest(f"The request's head is over the limit of {MAX_HEAD_BYTES} bytes.")


class Discard:
    """Throws the body away and answers with an error once it is whole, or at once if it is very large."""

    MAX_BYTES = 64 << 20
    """More than this is not read to its end."""

    def __init__(self, exchange: Exchange, error: PenstockError, headers: Mapping[str, str] | None = None) -> None:
        self._exchange = exchange
        self._error = error
        self._headers = headers
        self._size = 0
        if exchange.expects_continue or (exchange.content_length or 0) > self.MAX_BYTES:
            self._exchange.refuse(self._error, self._headers)

    def feed(self, data: bytes) -> None:
        """Count and drop."""
        self._size += len(data)
        if self._size > self.MAX_BYTES:
            self._exchange.refuse(self._error, self._headers)

    def complete(self) -> None:
        """Answer."""
        self._exchange.refuse(self._error, self._headers)

    def abandon(self) -> None:
        """Nothing to undo."""


class BodyBudget:
    """How much of clients' bodies a gateway holds in memory at a time, over all connections."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0

    def take(self, size: int) -> bool:
        """Take a share; False if there is not so much left."""
        if self._held + size > self._limit:
            return False
        self._held += size
        return True

    def give_back(self, size: int) -> None:
        """The body is no longer needed."""
        self._held -= size


class WholeBody:
    """Keeps the body until it is whole; over the limit, or without room for it, it is discarded and refused.

    The body's share of the budget is given back when the exchange ends.
    """

    def __init__(
        self,
        exchange: Exchange,
        limit_bytes: int,
        then: Callable[[bytes], None],
        budget: BodyBudget | None = None,
    ) -> None:
        self._exchange = exchange
        self._limit = limit_bytes
        self._budget = budget
        self._then = then
        self._parts: list[bytes] = []
        self._size = 0
        self._discard: Discard | None = None
        if (exchange.content_length or 0) > limit_bytes:
            self._refuse(self._too_large())
        else:
            exchange.accept_body()

    def feed(self, data: bytes) -> None:
        """Keep."""
        if self._discard is not None:
            self._discard.feed(data)
            return
        if self._budget is not None and not self._exchange.hold(self._budget, len(data)):
            self._refuse(ResourceExhausted("The gateway holds as many request bodies as it may; send again later."))
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            self._refuse(self._too_large())

    def complete(self) -> None:
        """Hand the body on."""
        if self._discard is not None:
            self._discard.complete()
        else:
            parts, self._parts = self._parts, []
            self._then(parts[0] if len(parts) == 1 else b"".join(parts))

    def abandon(self) -> None:
        """Drop what was kept."""
        self._parts.clear()

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The request body is over the limit of {self._limit} bytes.")

    def _refuse(self, error: PenstockError) -> None:
        self._parts.clear()
        self._discard = Discard(self._exchange, error)
