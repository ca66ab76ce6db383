"""Links to replicas: one connection each, many calls at once, kept up for as long as the replica is routed to.

The socket belongs to the slot and is held open by the supervisor, so that a connection made while the replica is
down waits there until the next one comes up; one made while it sleeps wakes it. A link is ready from HELLO until the
replica says goodbye, a HELLO with no room, or the connection breaks.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from penstock.domain.errors import InternalError
from penstock.gateway.call import Call, CallState
from penstock.wire.frames import (
    PROTOCOL_VERSION,
    Error,
    Frame,
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

    def __init__(self, slot: str, address: str, owner: LinkOwner) -> None:
        self.slot = slot
        self._address = address
        self._owner = owner
        self._ids = itertools.count(1)
        self._calls: dict[int, Call] = {}
        self._hello: Hello | None = None
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

    @property
    def is_stuck(self) -> bool:
        """Whether a call of the replica ran past its time limit and has not ended: it gets no more until it has."""
        return any(call.state is CallState.FINISHED for call in self._calls.values())

    @property
    def in_flight(self) -> int:
        """Calls that the replica has and has not finished."""
        return len(self._calls)

    @property
    def room(self) -> int:
        """How many more calls the replica may be given."""
        if self._hello is None or not self._hello.slots or self.is_retiring or self.is_stuck:
            return 0
        if any(call.is_alone for call in self._calls.values()):
            return 0
        return self._hello.slots + self._hello.window - len(self._calls)

    def send(self, call: Call) -> None:
        """Give the replica a call; all calls of one turn of the loop leave in one write."""
        request_id = next(self._ids)
        self._calls[request_id] = call
        call.send()
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += encode_request(request_id, call.meta, call.body)

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
                    self._close_if_done()
                return

    def retire(self) -> None:
        """Take no more calls; close and stay away after the last one."""
        self.is_retiring = True
        self._close_if_done()

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

    def _close_if_done(self) -> None:
        """A retiring link, and that of a replica which has said goodbye, closes once nothing is in flight."""
        is_leaving = self.is_retiring or (self._hello is not None and not self._hello.slots)
        if is_leaving and not self._calls and self._connection is not None:
            self._connection.close()

    def _lose(self) -> None:
        self._connection = None
        self._hello = None
        self._unsent.clear()
        calls, self._calls = list(self._calls.values()), {}
        self._owner.on_lost(calls)

    def _take(self, frame: Frame) -> None:
        if frame.type is FrameType.HELLO:
            hello = msgspec.json.decode(frame.payload, type=Hello)
            if hello.protocol != PROTOCOL_VERSION:
                raise ProtocolError(f"the replica speaks version {hello.protocol}, not {PROTOCOL_VERSION}")
            self._hello = hello
            self._close_if_done()
            self._owner.on_room()
            return
        call = self._calls.get(frame.request_id)
        if call is None:
            return
        match frame.type:
            case FrameType.STARTED:
                if call.state is CallState.SENT:
                    call.start(is_idempotent=self._hello is not None and self._hello.is_idempotent)
            case FrameType.HEAD:
                call.begin(msgspec.json.decode(frame.payload, type=Head), self.slot)
            case FrameType.CHUNK:
                call.take(frame.payload)
            case FrameType.END:
                if call.head is None and call.is_wanted:
                    raise ProtocolError("a replica sent END without HEAD")
                del self._calls[frame.request_id]
                call.finish()
                self._close_if_done()
                self._owner.on_room()
            case FrameType.ERROR:
                del self._calls[frame.request_id]
                call.refuse(InternalError(msgspec.json.decode(frame.payload, type=Error).message))
                self._close_if_done()
                self._owner.on_room()
            case _:
                raise ProtocolError(f"a replica sent {frame.type.name}")


class _Connection(asyncio.Protocol):
    """Bytes to frames."""

    def __init__(self, take: Callable[[Frame], None]) -> None:
        self._take = take
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the interface and another base

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
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
