"""What is logged of predictions: which of them, how much of each, and what all to one served entity have in common."""

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from penstock.domain.routing import RoutedEndpoint, RoutedEntity
from penstock.spool.record import Context, Flag, Kind
from penstock.spool.writer import Leave, SpoolWriter
from penstock.wire.siblings import Asked

MAX_LOGGED_BYTES = 1 << 20
"""A body over this is not logged, only that it was there: the limit of the contract's inference tables."""


class Logged(Protocol):
    """What is asked of a call."""

    request_id: str
    body: bytes
    arrived_s: float
    """By the monotonic clock."""


class Capture:
    """Logs predictions of one caller by one served entity."""

    def __init__(self, spool: SpoolWriter, context: Context, max_body_bytes: int) -> None:
        self._spool = spool
        self._fraction = context.sampling_fraction
        self._context = msgspec.json.encode(context)
        self._max_body_bytes = max_body_bytes

    def is_drawn(self, draw: Callable[[], float]) -> bool:
        """Whether the next prediction is among those that are logged."""
        return self._fraction >= 1 or draw() < self._fraction

    def whole(self, call: Logged, status: int, answer: bytes, notes: bytes, leave: Leave) -> None:
        """Log a call and its whole answer, then let it leave."""
        self._add(call, Kind.WHOLE, status, call.body, answer, notes, leave)

    def start(self, call: Logged, status: int, leave: Leave) -> None:
        """Log a call whose answer is a stream, then let its head leave."""
        self._add(call, Kind.START, status, call.body, b"", b"", leave)

    def chunk(self, call: Logged, data: bytes, leave: Leave) -> None:
        """Log a piece of a stream, then let it leave."""
        self._add(call, Kind.CHUNK, 0, b"", data, b"", leave)

    def end(self, call: Logged, status: int, notes: bytes, last: bytes, leave: Leave) -> None:
        """Log the end of a stream, with the error that it ends with if there is one, then let it leave."""
        self._add(call, Kind.END, status, b"", last, notes, leave)

    def _add(
        self, call: Logged, kind: Kind, status: int, request: bytes, answer: bytes, notes: bytes, leave: Leave
    ) -> None:
        total_s = time.monotonic() - call.arrived_s
        received_s = time.time() - total_s
        flags = 0
        if len(request) > self._max_body_bytes:
            request, flags = b"", Flag.REQUEST_TOO_LARGE
        if len(answer) > self._max_body_bytes:
            answer, flags = b"", flags | Flag.ANSWER_TOO_LARGE
        self._spool.add(
            leave,
            self._context,
            kind,
            call.request_id.encode(),
            int(received_s * 1e6),
            int(total_s * 1e6),
            status,
            flags,
            notes,
            request,
            answer,
        )


class Captures:
    """Makes captures that write into one spool."""

    def __init__(self, spool: SpoolWriter, max_body_bytes: int = MAX_LOGGED_BYTES) -> None:
        self._spool = spool
        self._max_body_bytes = max_body_bytes

    def capture(self, endpoint: RoutedEndpoint, entity: RoutedEntity, asked: Asked) -> Capture | None:
        """What logs the predictions of a caller by a served entity; None if they are not logged."""
        if not endpoint.logged_fraction:
            return None
        context = Context(
            endpoint.id,
            endpoint.name,
            endpoint.config_version,
            entity.id,
            entity.name,
            asked.principal,
            asked.api.value,
            asked.content_type.decode("latin-1"),
            endpoint.logged_fraction,
        )
        return Capture(self._spool, context, self._max_body_bytes)
