"""What is logged of predictions: which of them, how much of each, and what all to one served entity have in common."""

import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from penstock.domain.routing import RoutedEndpoint, RoutedEntity
from penstock.domain.spool_mode import SpoolMode
from penstock.gateway.redaction import redacted, redacted_answer
from penstock.spool.record import Context, Flag, Kind, encode_record
from penstock.spool.writer import Leave, SpoolWriter
from penstock.wire.siblings import Asked


class Logged(Protocol):
    """What is asked of a call."""

    request_id: str


class Capture:
    """Logs predictions of one caller by one served entity."""

    def __init__(
        self,
        spool: SpoolWriter,
        context: Context,
        max_body_bytes: int,
        is_strict: bool = False,
        redacted_columns: Sequence[str] = (),
    ) -> None:
        self._spool = spool
        self._redacted = frozenset(redacted_columns)
        self._body_fraction = context.sampling_fraction
        self.is_strict = is_strict
        """Whether nothing is to leave that could not be logged."""
        self.fraction = 1.0 if context.tracks_usage else context.sampling_fraction
        """The share of calls that are to be logged; less than 1 has to be drawn."""
        self._context = msgspec.json.encode(context)
        self._max_body_bytes = max_body_bytes

    def log(
        self,
        leave: Leave,
        call: Logged,
        kind: Kind,
        status: int,
        total_s: float,
        notes: bytes = b"",
        request: bytes = b"",
        answer: bytes = b"",
        instead: Leave | None = None,
    ) -> None:
        """Log a call or a part of it, then let that leave.

        Args:
            leave: lets it.
            call: what is logged.
            kind: of the record.
            status: of the answer.
            total_s: from the call's arrival until now.
            notes: what the replica told of its answer.
            request: its body.
            answer: the answer's body, or a piece of it.
            instead: called in place of `leave` if it could not be logged.
        """
        flags = 0
        if self._body_fraction < self.fraction and not _is_drawn(call.request_id, self._body_fraction):
            request, answer, flags = b"", b"", _NOT_SAMPLED
        if self._redacted:
            request, answer, flags = self._without_redacted(kind, status, request, answer, flags)
        if len(request) > self._max_body_bytes:
            request, flags = b"", _REQUEST_TOO_LARGE
        if len(answer) > self._max_body_bytes:
            answer, flags = b"", flags | _ANSWER_TOO_LARGE
        received_us, total_us = int((time.time() - total_s) * 1e6), int(total_s * 1e6)
        number = self._spool.number_of(self._context)
        request_id = call.request_id.encode()
        record = encode_record(kind, number, request_id, received_us, total_us, status, flags, notes, request, answer)
        self._spool.add(leave, record, instead, is_required=self.is_strict)

    def _without_redacted(
        self, kind: Kind, status: int, request: bytes, answer: bytes, flags: int
    ) -> tuple[bytes, bytes, int]:
        """Bodies without what may not be logged. The pieces of a stream are the model's words, and stay."""
        if request and len(request) <= self._max_body_bytes:
            found = redacted(request, self._redacted)
            request, flags = (b"", flags | _NOT_REDACTED) if found is None else (found, flags)
        if answer and kind is Kind.WHOLE and len(answer) <= self._max_body_bytes:
            answer = redacted_answer(answer, status, self._redacted)
        return request, answer, flags


def _is_drawn(request_id: str, fraction: float) -> bool:
    """Whether the bodies of a request are logged: the same for all parts of a stream, for these digits were drawn."""
    return int(request_id[24:32], 16) < fraction * (1 << 32)


_REQUEST_TOO_LARGE, _ANSWER_TOO_LARGE = int(Flag.REQUEST_TOO_LARGE), int(Flag.ANSWER_TOO_LARGE)
_NOT_SAMPLED, _NOT_REDACTED = int(Flag.NOT_SAMPLED), int(Flag.NOT_REDACTED)


class Captures:
    """Makes captures that write into one spool."""

    def __init__(self, spool: SpoolWriter, max_body_bytes: int) -> None:
        self._spool = spool
        self._max_body_bytes = max_body_bytes

    def capture(self, endpoint: RoutedEndpoint, entity: RoutedEntity, asked: Asked) -> Capture | None:
        """What logs the predictions of a caller by a served entity; None if they are not logged."""
        log = endpoint.log
        if log.is_empty:
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
            log.fraction if log.tables else 0.0,
            entity.model_name,
            entity.model_version,
            log.payload,
            log.legacy,
            log.tracks_usage,
        )
        return Capture(
            self._spool, context, self._max_body_bytes, entity.spool_mode is SpoolMode.STRICT, entity.redacted
        )
