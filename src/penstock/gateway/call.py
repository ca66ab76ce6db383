"""A call: one prediction on its way through the gateway."""

import time
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import partial
from typing import Protocol

from penstock.domain.errors import PenstockError, TemporarilyUnavailable
from penstock.domain.prediction import JSON
from penstock.gateway.capture import Capture
from penstock.gateway.deadlines import Deadline, Lane
from penstock.gateway.headers import Headers, PredictionHeaders
from penstock.gateway.request_ids import request_ids
from penstock.spool.record import Kind
from penstock.spool.writer import Leave
from penstock.wire.errors import body_of, headers_of, status_of
from penstock.wire.event_stream import DONE, error_event
from penstock.wire.frames import Head, MetaForm, RequestMeta

MAX_UNSENT_BYTES = 4 << 20
"""A client of a stream that leaves more than this unread is cut off: nothing may pile up here without end."""

OnEnd = Callable[[int, float, float | None, bytes], None]
"""Told of an answer: its status, the seconds it took, those until a replica began with it, and the replica's notes."""

_ids = request_ids()
_NOT_LOGGED = TemporarilyUnavailable(
    "The answer is withheld because it could not be logged: the disk to which predictions are logged is full or cannot "
    "be written, and PENSTOCK_SPOOL_MODE=strict wants every answer logged. Send the request again later."
)


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


class _Nobody:
    """Who waits for the rest of an answer that was cut off."""

    is_open = False
    on_gone: Callable[[], None] | None = None

    def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """Nobody takes it."""

    def begin_stream(self, status: int, raw_headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Nobody takes it."""

    def push(self, data: bytes) -> int:
        """Nobody takes it."""
        return 0

    def end_stream(self) -> None:
        """Nobody takes it."""

    def break_off(self) -> None:
        """Nobody misses it."""


_NOBODY = _Nobody()


class CallState(Enum):
    """Where a call is. It only moves forward, except that a call whose replica died WAITs again.

    Always if it was SENT, once if it was STARTED and may be begun twice.
    """

    WAITING = auto()
    SENT = auto()
    STARTED = auto()
    FINISHED = auto()


# Looking a member up in its enum costs more than what is done with it.
_WAITING, _SENT, _STARTED, _FINISHED = CallState


class Call:
    """One request body, the entity that is to answer it, and who waits for the answer."""

    __slots__ = (
        "_capture",
        "_on_end",
        "_parts",
        "_recipient",
        "_replica",
        "_stand_in",
        "arrived_s",
        "body",
        "cold_start_s",
        "entity_name",
        "found_no_replica",
        "head",
        "is_alone",
        "is_idempotent",
        "lane",
        "meta",
        "move_on",
        "queued_s",
        "request_id",
        "state",
    )

    def __init__(
        self,
        recipient: Recipient,
        entity_name: str,
        meta: RequestMeta | MetaForm,
        body: bytes,
        on_end: OnEnd | None = None,
        stand_in: "Callable[[Call], Recipient] | None" = None,
        capture: Capture | None = None,
        move_on: "Callable[[Call], None] | None" = None,
    ) -> None:
        """Begin its life.

        Args:
            recipient: who waits for the answer.
            entity_name: the served entity that is to give it.
            meta: what goes to the replica beside the body, to which the request's id is added.
            body: of the request.
            on_end: told of the answer.
            stand_in: makes who waits on when the recipient leaves a call that a replica has begun; without it nobody.
            capture: logs it; without it nothing is logged.
            move_on: finds another way for it, if that to this entity ends while it waits.
        """
        self._recipient = recipient
        self._on_end = on_end
        self._stand_in = stand_in
        self._capture = capture
        self.move_on = move_on
        self.entity_name = entity_name
        self.body = body
        self.request_id = next(_ids)
        form = MetaForm(meta) if isinstance(meta, RequestMeta) else meta
        self.meta = form.fill(self.request_id)
        self._replica: str | None = None
        self.arrived_s = time.monotonic()
        self.queued_s: float | None = None
        """How long it waited until a replica began with it."""
        self.lane: Lane[Call] | None = None
        """Refuses the call at its time limit; set by the backend that took it."""
        self.state = _WAITING
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
        return self.state is not _FINISHED and self._recipient.is_open

    @property
    def may_begin_again(self) -> bool:
        """Whether it may be begun a second time. What a replica died of may not: it was."""
        return self.is_idempotent and not self.is_alone

    @property
    def on_end(self) -> OnEnd | None:
        """Who will be told of the answer."""
        return self._on_end

    @property
    def deadline(self) -> Deadline["Call"] | None:
        """Its time limit, once a backend has taken it."""
        return None if self.lane is None else Deadline(self.lane, self)

    @property
    def ends_by_s(self) -> float:
        """When it will have been answered, by the loop's clock."""
        return self.arrived_s if self.lane is None else self.lane.get(self, self.arrived_s)

    def turn_to(self, entity_name: str, on_end: OnEnd, capture: Capture | None) -> None:
        """Another served entity is to answer; it is logged as that one's, if it is logged."""
        self.entity_name, self._on_end = entity_name, on_end
        self._capture = None if self._capture is None else capture

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
        was_begun = self.state is _STARTED or (self.state is not _FINISHED and self.is_alone)
        if self._stand_in is None or not was_begun or (self.head is not None and self.head.is_stream):
            return False
        self.answer_to(self._stand_in(self))
        return True

    def send(self) -> None:
        """A replica is given the call."""
        self.state = _SENT
        if self.found_no_replica and self.cold_start_s is None:
            self.cold_start_s = time.monotonic() - self.arrived_s

    def start(self, is_idempotent: bool, now_s: float) -> None:
        """A replica has begun with it, which says whether it may be begun a second time."""
        self.state = _STARTED
        self.queued_s = now_s - self.arrived_s
        self.is_idempotent = is_idempotent

    def retry_alone(self) -> bool:
        """Begin again from nothing, if it may be, was not begun twice already and no piece of the answer has left."""
        if not self.may_begin_again or (self.head is not None and self.head.is_stream):
            return False
        self.is_alone = True
        self.state = _WAITING
        self.head, self._replica = None, None
        self._parts.clear()
        return True

    def begin(self, head: Head, replica: str) -> None:
        """The answer begins. The head of a stream leaves at once; any other answer waits until it is whole."""
        if self.state is not _STARTED:
            return
        self.head = head
        self._replica = replica
        if not head.is_stream:
            return
        if self._capture is None:
            self._let_begin(head)
        else:
            total_s = time.monotonic() - self.arrived_s
            leave = partial(self._let_begin, head)
            instead = partial(self._go_unlogged, self._capture, leave, has_begun=False)
            self._capture.log(leave, self, Kind.START, head.status, total_s, request=self.body, instead=instead)

    def answer(self, head: Head, replica: str, body: bytes, notes: bytes) -> None:
        """The whole answer of a replica that has begun with it."""
        self.head, self._replica = head, replica
        self._respond(head.status, body, self._headers(head.content_type), notes)

    def take(self, data: bytes) -> None:
        """A piece of the answer."""
        if self.state is not _STARTED or self.head is None:
            return
        if not self.head.is_stream:
            self._parts.append(data)
        elif self._capture is None:
            self._let_go(self._held_back() + data)
        else:
            self._hold_back_end(self._capture, data)

    def _hold_back_end(self, capture: Capture, data: bytes) -> None:
        """Log a piece of a stream; what may be its last stays here until the end has been logged as well."""
        leaving = self._held_back()
        if data.endswith(DONE):
            self._parts.append(data)
        else:
            leaving += data
        total_s = time.monotonic() - self.arrived_s
        leave = partial(self._let_go, leaving)
        instead = partial(self._go_unlogged, capture, leave)
        capture.log(leave, self, Kind.CHUNK, 0, total_s, answer=data, instead=instead)

    def _held_back(self) -> bytes:
        held, self._parts = b"".join(self._parts), []
        return held

    def finish(self, notes: bytes = b"") -> None:
        """The answer is whole; `notes` are what the replica tells of it."""
        head = self.head
        if self.state is _FINISHED or head is None:
            return
        if head.is_stream:
            self._end_stream(head.status, notes)
        else:
            self._respond(head.status, b"".join(self._parts), self._headers(head.content_type), notes)

    def refuse(self, error: PenstockError) -> None:
        """Send an error; a stream that has begun ends with it."""
        if self.state is _FINISHED:
            return
        if self.head is not None and self.head.is_stream:
            self._end_stream(status_of(error), b"", error_event(error))
        else:
            self._respond(status_of(error), body_of(error), (*self._headers(JSON), *headers_of(error).items()))

    def drop(self) -> None:
        """Nobody waits any more, and no replica has begun: keep nothing of it, and do not count it."""
        if self.state in {_WAITING, _SENT}:
            self._release()

    def _respond(self, status: int, body: bytes, headers: Headers, notes: bytes = b"") -> None:
        total_s = time.monotonic() - self.arrived_s
        capture = self._capture
        if capture is None:
            self._release()
            self._let_answer(status, body, headers, total_s, notes)
        else:
            leave = partial(self._let_answer, status, body, headers, total_s, notes)
            instead = partial(self._go_unlogged, capture, leave, has_begun=False) if capture.is_strict else None
            capture.log(leave, self, Kind.WHOLE, status, total_s, notes, self.body, body, instead)
            self._release()

    def _end_stream(self, status: int, notes: bytes, last: bytes = b"") -> None:
        total_s = time.monotonic() - self.arrived_s
        capture, leave = self._capture, partial(self._let_end, self._held_back() + last, status, total_s, notes)
        if capture is None:
            self._release()
            leave()
        else:
            instead = partial(self._go_unlogged, capture, leave)
            capture.log(leave, self, Kind.END, status, total_s, notes, b"", last, instead)
            self._release()

    def _go_unlogged(self, capture: Capture, leave: Leave, *, has_begun: bool = True) -> None:
        """A record could not be written: go on without, or end here. Of a stream nothing more is logged, either way."""
        self._capture = None
        if not capture.is_strict:
            leave()
            return
        recipient, self._recipient = self._recipient, _NOBODY  # what else this turn has for it does not leave
        if recipient.is_open and has_begun:
            recipient.push(error_event(_NOT_LOGGED))
            recipient.end_stream()
        elif recipient.is_open:
            headers = (*self._headers(JSON), *headers_of(_NOT_LOGGED).items())
            recipient.respond(status_of(_NOT_LOGGED), body_of(_NOT_LOGGED), headers)
        self._count(status_of(_NOT_LOGGED), time.monotonic() - self.arrived_s)
        if self.state is not _FINISHED:
            stop, recipient.on_gone = recipient.on_gone, None
            self._release()
            if stop is not None:
                stop()

    def _let_answer(self, status: int, body: bytes, headers: Headers, total_s: float, notes: bytes) -> None:
        self._count(status, total_s, notes)
        if self._recipient.is_open:
            self._recipient.respond(status, body, headers)

    def _let_begin(self, head: Head) -> None:
        if self._recipient.is_open:
            headers = [*self._headers(head.content_type), ("cache-control", "no-cache")]
            self._recipient.begin_stream(head.status, [(n.encode(), v.encode("latin-1")) for n, v in headers])

    def _let_go(self, data: bytes) -> None:
        if self._recipient.is_open and self._recipient.push(data) > MAX_UNSENT_BYTES:
            self._recipient.break_off()

    def _let_end(self, last: bytes, status: int, total_s: float, notes: bytes) -> None:
        self._count(status, total_s, notes)
        if self._recipient.is_open:
            if last:
                self._recipient.push(last)
            self._recipient.end_stream()

    def _count(self, status: int, total_s: float, notes: bytes = b"") -> None:
        on_end, self._on_end = self._on_end, None  # of a stream that was cut off an end may come all the same
        if on_end is not None:
            on_end(status, total_s, self.queued_s, notes)

    def _release(self) -> None:
        self.state = _FINISHED
        if self.lane is not None:
            self.lane.pop(self, None)
        self._recipient.on_gone = None
        self.body = b""
        self._parts.clear()

    def _headers(self, content_type: str) -> PredictionHeaders:
        return PredictionHeaders(content_type, self.entity_name, self.request_id, self._replica, self.cold_start_s)
