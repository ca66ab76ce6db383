"""An exchange: one request, where its body goes, and the answer to it, whole or streamed."""

import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Protocol

from penstock.domain.errors import InternalError, PenstockError
from penstock.domain.prediction import JSON
from penstock.gateway.head import Head
from penstock.gateway.headers import Headers, PredictionHeaders, encode_headers
from penstock.wire.errors import body_of, headers_of, status_of

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_JSON = (("content-type", JSON),)
_NO_CONTENT = HTTPStatus.NO_CONTENT.value

_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What an exchange needs of the connection that it came on."""

    is_draining: bool

    @property
    def unsent_bytes(self) -> int:
        """What has been written and the client has not taken yet."""

    @property
    def client_address(self) -> str:
        """From where the client reached us; empty if that cannot be told."""

    def write(self, data: bytes) -> None:
        """Send bytes, if the client is still there."""

    async def drained(self) -> None:
        """Wait until the client has caught up or is gone."""

    def finish(self, exchange: "Exchange") -> None:
        """The exchange has been answered."""

    def abort(self) -> None:
        """Close at once."""

    def pause_body(self, is_paused: bool) -> None:
        """Stop or resume reading."""


class Sink(Protocol):
    """Where an exchange's body goes."""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""

    def complete(self) -> None:
        """The body is whole."""

    def abandon(self) -> None:
        """The client is gone."""


class _Nowhere:
    def feed(self, data: bytes) -> None:
        """Nobody wants it."""

    def complete(self) -> None:
        """Nobody waits for it."""

    def abandon(self) -> None:
        """Nothing to undo."""


NOWHERE: Sink = _Nowhere()
"""Where the rest of a body goes that has been taken, or whose exchange is over."""


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
        "expects_continue",
        "extra_headers",
        "head",
        "headers",
        "is_complete",
        "is_open",
        "keep_alive",
        "on_gone",
    )

    def __init__(self, connection: Connection, head: Head, body: bytes | None = None) -> None:
        """`body` is the whole of it, if it came with the head; else it is fed."""
        self._connection = connection
        self.head = head
        self.headers = head.headers
        self.expects_continue = head.expects_continue
        self.keep_alive = head.keep_alive
        self.extra_headers: tuple[tuple[str, str], ...] = ()
        """What every answer to it bears beside its own headers."""
        self.is_complete = body is not None
        self.is_open = True
        self.on_gone: Callable[[], None] | None = None
        """Called once if the client goes away before it has the whole answer."""
        self._sink: Sink | None = None
        self._unfed: list[bytes] | None = [] if body is None else [body]
        """What has come and no sink has seen; None once somebody has taken all of it."""
        self._flaw: PenstockError | None = None
        self._budget: BodyBudget | None = None
        self._held = 0
        self._has_head = False
        self._is_chunked = False
        self._is_finished = False

    @property
    def method(self) -> bytes:
        """As the client wrote it."""
        return self.head.method

    @property
    def target(self) -> bytes:
        """Path and query."""
        return self.head.target

    @property
    def version(self) -> str:
        """Of HTTP."""
        return self.head.version

    @property
    def authorization(self) -> bytes | None:
        """The header of that name."""
        return self.head.authorization

    @property
    def content_type(self) -> bytes | None:
        """The header of that name."""
        return self.head.content_type

    @property
    def content_length(self) -> int | None:
        """How long the body is, if the client says."""
        return self.head.content_length

    @property
    def client_address(self) -> str:
        """From where the client reached us; empty if that cannot be told."""
        return self._connection.client_address

    @property
    def has_begun_to_answer(self) -> bool:
        """Whether any byte of the answer has been written."""
        return self._has_head

    def header(self, name: bytes) -> str | None:
        """The first header of that name, in lower case here."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), None)

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
        lines = headers.encode() if isinstance(headers, PredictionHeaders) else encode_headers(headers)
        if self.extra_headers:
            lines += encode_headers(self.extra_headers)
        length = b"" if status == _NO_CONTENT else b"content-length: %d\r\n" % len(body)
        if self.head.method == b"HEAD":
            body = b""
        is_plain = self.keep_alive and self.is_complete and self.head.version == "1.1"
        connection = b"" if is_plain and not self._connection.is_draining else self._connection_header()
        self._connection.write(b"%b%b%b%b\r\n%b" % (_STATUS_LINES[status], lines, length, connection, body))
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
        lines.append(encode_headers(self.extra_headers))
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
            self.push(data)
            await self._connection.drained()

    def push(self, data: bytes) -> int:
        """Send a piece of the streamed body without waiting; tells how many bytes the client has not taken yet."""
        if data:  # a chunk of no bytes would be the last
            self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        return self._connection.unsent_bytes

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
        return b"connection: keep-alive\r\n" if self.head.version == "1.0" else b""

    def _finish(self) -> None:
        self._is_finished = True
        self._sink = NOWHERE  # whoever takes a body knows its exchange: neither is to keep the other
        if self._budget is not None:
            self._budget.give_back(self._held)
            self._budget = None
        self._connection.finish(self)

    def _end(self) -> None:
        self._is_finished = True
        if self._budget is not None:
            self._budget.give_back(self._held)
            self._budget = None

    def begin(self, choose_sink: "Begin") -> None:
        """It is this exchange's turn."""
        if self._flaw is not None:
            self.refuse(self._flaw)
            return
        try:
            sink = self._sink = choose_sink(self)
            if self._unfed is None:
                return
            for data in self._unfed:
                sink.feed(data)
            self._unfed.clear()
            if self.is_complete:
                sink.complete()
        except Exception as exc:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            self.answer_for_mistake(exc)

    def take_body(self, budget: BodyBudget) -> bytes | None:
        """The whole body, if it has come already, in one piece, and the budget has room: no sink sees it then."""
        unfed = self._unfed
        if not self.is_complete or unfed is None or len(unfed) != 1 or not budget.take(len(unfed[0])):
            return None
        self._budget, self._held = budget, len(unfed[0])
        self._unfed = None
        return unfed[0]

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
            if self._unfed is not None:
                self._unfed.append(data)
            return
        try:
            self._sink.feed(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            self.answer_for_mistake(exc)

    def complete(self) -> None:
        """The body's end came."""
        self.is_complete = True
        if self._sink is None:
            return
        try:
            self._sink.complete()
        except Exception as exc:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            self.answer_for_mistake(exc)

    def answer_for_mistake(self, mistake: Exception) -> None:
        """A mistake of ours is logged and answered with 500: no client is left waiting for it."""
        _log.error("a request could not be handled", exc_info=mistake)
        self.keep_alive = False
        if self._has_head:
            self._connection.abort()
        else:
            self.refuse(InternalError(f"The gateway failed on this request: {type(mistake).__name__}."))

    def abandon(self) -> None:
        """The client is gone."""
        self.is_open = False
        was_finished = self._is_finished
        self._end()
        if self._sink is not None:
            self._sink.abandon()
            self._sink = NOWHERE
        if self.on_gone is not None and not was_finished:
            self.on_gone()


Begin = Callable[[Exchange], Sink]
"""Chooses the sink of an exchange when its turn has come."""
