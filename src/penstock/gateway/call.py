"""A call: one prediction on its way through the gateway."""

import asyncio
import time
import uuid
from collections.abc import Callable
from enum import Enum, auto

import msgspec

from penstock.domain.errors import PenstockError
from penstock.domain.prediction import JSON
from penstock.gateway.exchange import Exchange, Headers
from penstock.wire.errors import body_of, headers_of, status_of
from penstock.wire.event_stream import error_event
from penstock.wire.frames import Head, RequestMeta, encode_meta

MAX_UNSENT_BYTES = 4 << 20
"""A client of a stream that leaves more than this unread is cut off: nothing may pile up here without end."""

OnEnd = Callable[[int, float], None]


class CallState(Enum):
    """Where a call is. It only moves forward, except that a call whose replica died WAITs again.

    Always if it was SENT, once if it was STARTED and may be begun twice.
    """

    WAITING = auto()
    SENT = auto()
    STARTED = auto()
    FINISHED = auto()


class Call:
    """One request body, the entity that is to answer it, and the exchange that waits for the answer."""

    __slots__ = (
        "_exchange",
        "_on_end",
        "_parts",
        "_replica",
        "arrived_s",
        "body",
        "cold_start_s",
        "deadline",
        "entity_name",
        "found_no_replica",
        "head",
        "is_alone",
        "meta",
        "request_id",
        "state",
    )

    def __init__(
        self,
        exchange: Exchange,
        entity_name: str,
        meta: RequestMeta,
        body: bytes,
        on_end: OnEnd | None = None,
    ) -> None:
        """`meta` goes to the replica with the request's id; `on_end` is told the answer's status and its seconds."""
        self._exchange = exchange
        self._on_end = on_end
        self.entity_name = entity_name
        self.body = body
        self.request_id = str(uuid.uuid4())
        self.meta = encode_meta(msgspec.structs.replace(meta, request_id=self.request_id))
        self._replica: str | None = None
        self.arrived_s = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        """Refuses the call at its time limit; set by the backend that took it."""
        self.state = CallState.WAITING
        self.is_alone = False
        """Whether a replica died while it worked on this call, which is begun once more, with no other beside it."""
        self.found_no_replica = False
        """Whether no replica was ready when the call came."""
        self.cold_start_s: float | None = None
        """How long it waited for one then."""
        self.head: Head | None = None
        self._parts: list[bytes] = []

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer, or for the rest of it."""
        return self.state is not CallState.FINISHED and self._exchange.is_open

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Be told if the client goes away before it has the whole answer."""
        self._exchange.on_gone = on_gone

    def send(self) -> None:
        """A replica is given the call."""
        self.state = CallState.SENT
        if self.found_no_replica and self.cold_start_s is None:
            self.cold_start_s = time.monotonic() - self.arrived_s

    def retry_alone(self) -> bool:
        """Begin again from nothing, if it was not begun twice already and no piece of the answer has left."""
        if self.is_alone or (self.head is not None and self.head.is_stream):
            return False
        self.is_alone = True
        self.state = CallState.WAITING
        self.head, self._replica = None, None
        self._parts.clear()
        return True

    def begin(self, head: Head, replica: str) -> None:
        """The answer begins. The head of a stream leaves at once; any other answer waits until it is whole."""
        if self.state is not CallState.STARTED:
            return
        self.head = head
        self._replica = replica
        if head.is_stream and self._exchange.is_open:
            headers = [*self._headers(head.content_type), ("cache-control", "no-cache")]
            self._exchange.begin_stream(head.status, [(n.encode(), v.encode("latin-1")) for n, v in headers])

    def take(self, data: bytes) -> None:
        """A piece of the answer."""
        if self.state is not CallState.STARTED or self.head is None:
            return
        if not self.head.is_stream:
            self._parts.append(data)
        elif self._exchange.is_open and self._exchange.push(data) > MAX_UNSENT_BYTES:
            self._exchange.break_off()

    def finish(self) -> None:
        """The answer is whole."""
        if self.state is CallState.FINISHED or self.head is None:
            return
        if not self.head.is_stream:
            self._respond(self.head.status, b"".join(self._parts), self._headers(self.head.content_type))
            return
        self._end(self.head.status)
        if self._exchange.is_open:
            self._exchange.end_stream()

    def refuse(self, error: PenstockError) -> None:
        """Send an error; a stream that has begun ends with it."""
        if self.state is CallState.FINISHED:
            return
        if self.head is None or not self.head.is_stream:
            self._respond(status_of(error), body_of(error), (*self._headers(JSON), *headers_of(error).items()))
            return
        self._end(status_of(error))
        if self._exchange.is_open:
            self._exchange.push(error_event(error))
            self._exchange.end_stream()

    def drop(self) -> None:
        """Nobody waits any more, and no replica has begun: keep nothing of it, and do not count it."""
        if self.state in {CallState.WAITING, CallState.SENT}:
            self._release()

    def _respond(self, status: int, body: bytes, headers: Headers) -> None:
        self._end(status)
        if self._exchange.is_open:
            self._exchange.respond(status, body, headers)

    def _end(self, status: int) -> None:
        if self._on_end is not None:
            self._on_end(status, time.monotonic() - self.arrived_s)
        self._release()

    def _release(self) -> None:
        self.state = CallState.FINISHED
        if self.deadline is not None:
            self.deadline.cancel()
        self._exchange.on_gone = None
        self.body = b""
        self._parts.clear()

    def _headers(self, content_type: str) -> list[tuple[str, str]]:
        headers = [
            ("content-type", content_type),
            ("served-model-name", self.entity_name),
            ("x-databricks-request-id", self.request_id),
            ("databricks-request-id", self.request_id),
        ]
        if self._replica is not None:
            headers.append(("x-penstock-replica", self._replica))
        if self.cold_start_s is not None:
            headers.append(("x-penstock-cold-start", f"{self.cold_start_s * 1000:.0f}"))
        return headers
