"""Links to replicas: one connection each, many calls at once, kept up for as long as the replica is routed to.

The socket belongs to the slot and is held open by the supervisor, so that a connection made while the replica is
down waits there until the next one comes up; one made while it sleeps wakes it. A link is ready from HELLO until the
replica says goodbye, a HELLO with no room, or the connection breaks.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol, cast

import msgspec

from penstock.domain.errors import InternalError
from penstock.gateway.call import Call, CallState
from penstock.wire.frames import (
    ANSWER,
    PROTOCOL_VERSION,
    Cut,
    Error,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    ProtocolError,
    encode,
    encode_request,
)

_FIRST_RETRY_S = 0.02
_MAX_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class LinkOwner(Protocol):
    """What a link tells its served entity, and asks it."""

    def needs(self, link: "ReplicaLink") -> bool:
        """Whether a link that has lost its replica should look for the next one."""

    def on_room(self) -> None:
        """The link can take more calls than a moment ago."""

    def on_lost(self, calls: list[Call]) -> None:
        """The connection broke with these calls unanswered, in the order in which they were sent."""


class ReplicaLink:
    """The link to one slot."""

    def __init__(self, slot: str, address: str, owner: LinkOwner, spin_us: int = 0) -> None:
        self.slot = slot
        self._spin_s = spin_us / 1e6
        self._answers_soon = False
        """Whether the last answer to a lone call came while it would have been looked for."""
        self._soon_until_s = 0.0
        """Until when that can be said of the lone call that was sent; 0 if there is none."""
        self._address = address
        self._owner = owner
        self._ids = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._hello: Hello | None = None
        self._is_idempotent = False
        self._limit = 0
        """How many calls the replica may have now; 0 while it is to get no more, whatever the reason."""
        self.in_flight = 0
        """Calls that the replica has and has not finished."""
        self.room = 0
        """How many more calls the replica may be given; less than 0 if it has more than it would get now."""
        self._unsent: list[bytes] = []
        self._connection: _Connection | None = None
        self.is_retiring = False
        """Whether the link is to take no more calls and to close after the last one."""
        self._task = asyncio.create_task(self._keep_connected(), name=f"link {slot}")

    @property
    def is_ready(self) -> bool:
        """Whether a replica that takes calls is at the other end."""
        return self._hello is not None and self._hello.slots > 0

    @property
    def pid(self) -> int | None:
        """Process id of the replica at the other end."""
        return self._hello.pid if self._hello else None

    def send(self, call: Call) -> None:
        """Give the replica a call; all calls of one turn of the loop leave in one write."""
        request_id = next(self._ids)
        self._calls[request_id] = call
        self.in_flight += 1
        self.room -= 1
        call.send()
        if call.is_alone:
            self._reckon()
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += encode_request(request_id, call.meta, call.body)

    def note_expired(self, call: Call) -> None:
        """A call was refused at its time limit: if the replica has it, it gets no more until it has ended that."""
        if self.has(call):
            self._reckon()

    def _reckon(self) -> None:
        """See how many calls the replica may have.

        None while a call past its time limit has not ended, nor beside one that is to be alone.
        """
        hello = self._hello
        is_held_off = any(call.is_alone or call.state is CallState.FINISHED for call in self._calls.values())
        if hello is None or not hello.slots or self.is_retiring or is_held_off:
            self._limit = 0
        else:
            self._limit = hello.slots + hello.window
        self._count()

    def _count(self) -> None:
        self.in_flight = len(self._calls)
        self.room = self._limit - self.in_flight

    def has(self, call: Call) -> bool:
        """Whether the replica has this call and has not ended it."""
        return any(candidate is call for candidate in self._calls.values())

    def has_wanted(self) -> bool:
        """Whether the replica works on a call that somebody waits for."""
        return any(call.state is CallState.STARTED and call.is_wanted for call in self._calls.values())

    def cancel(self, call: Call) -> None:
        """Tell the replica that nobody waits for this call, if it has it."""
        for request_id, candidate in self._calls.items():
            if candidate is call:
                self._unsent.append(encode(FrameType.CANCEL, request_id))
                asyncio.get_running_loop().call_soon(self._flush)
                if call.state is CallState.SENT:
                    # Not started as far as we know: the replica drops it, or answers it unheard.
                    del self._calls[request_id]
                    self._settle()
                return

    def retire(self) -> None:
        """Take no more calls; close and stay away after the last one."""
        self.is_retiring = True
        self._limit = 0
        self._settle()

    @property
    def is_closed(self) -> bool:
        """Whether the link has closed and will not connect again."""
        return self._task.done()

    async def close(self) -> None:
        """Close the connection and stay away."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._connection is not None and unsent:
            self._connection.write(b"".join(unsent))
            if self._spin_s and self.in_flight == 1:
                self._soon_until_s = time.monotonic() + self._spin_s
                if self._answers_soon:
                    self._spin()

    def _spin(self) -> None:
        """Have the loop look for a lone answer again and again for a while: to wake it up takes longer."""
        if self.in_flight == 1 and time.monotonic() < self._soon_until_s:
            asyncio.get_running_loop().call_soon(self._spin)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = _FIRST_RETRY_S
        while not self.is_retiring and self._owner.needs(self):
            try:
                _, connection = await loop.create_unix_connection(lambda: _Connection(self._take), self._address)
            except OSError:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _MAX_RETRY_S)
                continue
            self._connection = connection
            await connection.closed
            delay_s = _FIRST_RETRY_S if self._hello is not None else min(delay_s * 2, _MAX_RETRY_S)
            self._lose()
            await asyncio.sleep(delay_s)

    def _settle(self) -> None:
        """After a call has ended: one that held others off may have.

        A retiring link, and that of a replica which has said goodbye, closes once nothing is in flight.
        """
        if self._limit:
            self._count()
            return
        self._reckon()
        is_leaving = self.is_retiring or (self._hello is not None and not self._hello.slots)
        if is_leaving and not self._calls and self._connection is not None:
            self._connection.close()

    def _lose(self) -> None:
        self._connection = None
        self._hello = None
        self._limit = 0
        self._unsent.clear()
        calls, self._calls = list(self._calls.values()), {}
        self._count()
        self._owner.on_lost(calls)

    def _take(self, frames: Iterable[Cut]) -> None:
        """Frames came: type, request id, payload.

        Raises:
            ProtocolError: they are no frames, or frames that a replica does not send.
            MsgspecError: a payload is not of the form that its frame has.
        """
        calls = self._calls
        has_room = False
        now_s = 0.0
        try:
            for kind, request_id, payload, head, end in frames:
                call = calls.get(request_id)
                if call is None:
                    has_room |= kind == _HELLO and self._greet(payload)
                elif kind == ANSWER:
                    self._take_answer(request_id, call, _head(head), payload, end)
                    has_room = True
                elif kind == _CHUNK:
                    call.take(payload)
                elif kind == _STARTED:
                    if call.state is _SENT:
                        now_s = now_s or time.monotonic()  # once for all that have begun together
                        call.start(self._is_idempotent, now_s)
                elif kind == _HEAD:
                    call.begin(_head(payload), self.slot)
                else:
                    self._end(request_id, call, kind, payload)
                    has_room = True
        finally:
            if has_room:
                if self._soon_until_s:
                    self._answers_soon, self._soon_until_s = time.monotonic() < self._soon_until_s, 0.0
                self._settle()
                self._owner.on_room()

    def _take_answer(self, request_id: int, call: Call, head: Head, body: bytes, notes: bytes) -> None:
        """HEAD, a CHUNK and END, all at once."""
        if call.state is _CALL_STARTED and not head.is_stream:
            del self._calls[request_id]
            call.answer(head, self.slot, body, notes)
        else:
            call.begin(head, self.slot)
            call.take(body)
            self._end(request_id, call, _END, notes)

    def _end(self, request_id: int, call: Call, kind: int, payload: bytes) -> None:
        if kind == _END:
            if call.head is None and call.is_wanted:
                raise ProtocolError("a replica sent END without HEAD")
            del self._calls[request_id]
            call.finish(payload)
        elif kind == _ERROR:
            del self._calls[request_id]
            call.refuse(InternalError(msgspec.json.decode(payload, type=Error).message))
        else:
            raise ProtocolError(f"a replica sent {FrameType(kind).name}")

    def _greet(self, payload: bytes) -> bool:
        hello = msgspec.json.decode(payload, type=Hello)
        if hello.protocol != PROTOCOL_VERSION:
            raise ProtocolError(f"the replica speaks version {hello.protocol}, not {PROTOCOL_VERSION}")
        self._hello = hello
        self._is_idempotent = hello.is_idempotent
        self._reckon()
        return True


_SENT, _CALL_STARTED = CallState.SENT, CallState.STARTED
_HELLO, _STARTED, _HEAD = int(FrameType.HELLO), int(FrameType.STARTED), int(FrameType.HEAD)
_CHUNK, _END, _ERROR = int(FrameType.CHUNK), int(FrameType.END), int(FrameType.ERROR)


@lru_cache(maxsize=256)
def _head(payload: bytes) -> Head:
    """The few heads that answers have, decoded once each."""
    return msgspec.json.decode(payload, type=Head)


class _Connection(asyncio.Protocol):
    """Bytes to frames."""

    def __init__(self, take: Callable[[Iterable[Cut]], None]) -> None:
        self._take = take
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the interface and another base

    def data_received(self, data: bytes) -> None:
        try:
            self._take(self._decoder.cut(data))
        except (ProtocolError, msgspec.MsgspecError) as exc:
            _log.error("a replica broke the frame protocol: %s", exc)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
