"""A call: one prediction on its way through the gateway."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Protocol

import msgspec

from penstock.domain.errors import PenstockError
from penstock.domain.prediction import JSON
from penstock.gateway.exchange import Headers
from penstock.wire.errors import body_of, headers_of, status_of
from penstock.wire.event_stream import error_event
from penstock.wire.frames import Head, RequestMeta, encode_meta

MAX_UNSENT_BYTES = 4 << 20
"""A client of a stream that leaves more than this unread is cut off: nothing may pile up here without end."""

OnEnd = Callable[[int, float], None]


class Recipient(Protocol):
    """Who waits for the answer to a call: the exchange of a client, or what stands in for one that has gone."""

    is_open: bool
    on_gone: Callable[[], None] | None

    def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """Take a whole answer."""

    def begin_stream(self, status: int, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the head of an answer that comes piece by piece."""

    def push(self, data: bytes) -> int:
        """Take a piece; tells how many bytes have not gone further."""

    def end_stream(self) -> None:
        """That was the last piece."""

    def break_off(self) -> None:
        """There will be no more, though it is not whole."""


class CallState(Enum):
    """Where a call is. It only moves forward, except that a call whose replica died WAITs again.

    Always if it was SENT, once if it was STARTED and may be begun twice.
    """

    WAITING = auto()
    SENT = auto()
    STARTED = auto()
    FINISHED = auto()


class Call:
    """One request body, the entity that is to answer it, and who waits for the answer."""

    __slots__ = (
        "_on_end",
        "_parts",
        "_recipient",
        "_replica",
        "_stand_in",
        "arrived_s",
        "body",
        "cold_start_s",
        "deadline",
        "entity_name",
        "found_no_replica",
        "head",
        "is_alone",
        "is_idempotent",
        "meta",
        "request_id",
        "state",
    )

    def __init__(
        self,
        recipient: Recipient,
        entity_name: str,
        meta: RequestMeta,
        body: bytes,
        on_end: OnEnd | None = None,
        stand_in: "Callable[[Call], Recipient] | None" = None,
    ) -> None:
        """Begin its life.

        Args:
            recipient: who waits for the answer.
            entity_name: the served entity that is to give it.
            meta: what goes to the replica beside the body, with the request's id.
            body: of the request.
            on_end: told the answer's status and its seconds.
            stand_in: makes who waits on when the recipient leaves a call that a replica has begun; without it nobody.
        """
        self._recipient = recipient
        self._on_end = on_end
        self._stand_in = stand_in
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
        self.is_idempotent = False
        """Whether the replica that began with it said that this does no harm a second time."""
        self.found_no_replica = False
        """Whether no replica was ready when the call came."""
        self.cold_start_s: float | None = None
        """How long it waited for one then."""
        self.head: Head | None = None
        self._parts: list[bytes] = []

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer, or for the rest of it."""
        return self.state is not CallState.FINISHED and self._recipient.is_open

    @property
    def may_begin_again(self) -> bool:
        """Whether it may be begun a second time. What a replica died of may not: it was."""
        return self.is_idempotent and not self.is_alone

    @property
    def ends_by_s(self) -> float:
        """When it will have been answered, by the loop's clock."""
        return self.arrived_s if self.deadline is None else self.deadline.when()

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Be told if the recipient goes away before it has the whole answer."""
        self._recipient.on_gone = on_gone

    def answer_to(self, recipient: Recipient) -> None:
        """Somebody else waits for the answer from now on."""
        recipient.on_gone, self._recipient.on_gone = self._recipient.on_gone, None
        self._recipient = recipient

    def outlive_recipient(self) -> bool:
        """The recipient is gone: go on for its stand-in. False if there is none, or nothing for it to wait for.

        A replica must have begun with the call, and nothing of a stream may have left.
        """
        was_begun = self.state is CallState.STARTED or (self.state is not CallState.FINISHED and self.is_alone)
        if self._stand_in is None or not was_begun or (self.head is not None and self.head.is_stream):
            return False
        self.answer_to(self._stand_in(self))
        return True

    def send(self) -> None:
        """A replica is given the call."""
        self.state = CallState.SENT
        if self.found_no_replica and self.cold_start_s is None:
            self.cold_start_s = time.monotonic() - self.arrived_s

    def start(self, *, is_idempotent: bool) -> None:
        """A replica has begun with it."""
        self.state = CallState.STARTED
        self.is_idempotent = is_idempotent

    def retry_alone(self) -> bool:
        """Begin again from nothing, if it may be, was not begun twice already and no piece of the answer has left."""
        if not self.may_begin_again or (self.head is not None and self.head.is_stream):
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
        if head.is_stream and self._recipient.is_open:
            headers = [*self._headers(head.content_type), ("cache-control", "no-cache")]
            self._recipient.begin_stream(head.status, [(n.encode(), v.encode("latin-1")) for n, v in headers])

    def take(self, data: bytes) -> None:
        """A piece of the answer."""
        if self.state is not CallState.STARTED or self.head is None:
            return
        if not self.head.is_stream:
            self._parts.append(data)
        elif self._recipient.is_open and self._recipient.push(data) > MAX_UNSENT_BYTES:
            self._recipient.break_off()

    def finish(self) -> None:
        """The answer is whole."""
        if self.state is CallState.FINISHED or self.head is None:
            return
        if not self.head.is_stream:
            self._respond(self.head.status, b"".join(self._parts), self._headers(self.head.content_type))
            return
        self._end(self.head.status)
        if self._recipient.is_open:
            self._recipient.end_stream()

    def refuse(self, error: PenstockError) -> None:
        """Send an error; a stream that has begun ends with it."""
        if self.state is CallState.FINISHED:
            return
        if self.head is None or not self.head.is_stream:
            self._respond(status_of(error), body_of(error), (*self._headers(JSON), *headers_of(error).items()))
            return
        self._end(status_of(error))
        if self._recipient.is_open:
            self._recipient.push(error_event(error))
            self._recipient.end_stream()

    def drop(self) -> None:
        """Nobody waits any more, and no replica has begun: keep nothing of it, and do not count it."""
        if self.state in {CallState.WAITING, CallState.SENT}:
            self._release()

    def _respond(self, status: int, body: bytes, headers: Headers) -> None:
        self._end(status)
        if self._recipient.is_open:
            self._recipient.respond(status, body, headers)

    def _end(self, status: int) -> None:
        if self._on_end is not None:
            self._on_end(status, time.monotonic() - self.arrived_s)
        self._release()

    def _release(self) -> None:
        self.state = CallState.FINISHED
        if self.deadline is not None:
            self.deadline.cancel()
        self._recipient.on_gone = None
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
