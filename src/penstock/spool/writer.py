"""Writes records, and only then lets the answers leave that they tell of: one write for each turn of the loop.

What a turn adds is collected; at its end all of it is written at once, and the answers follow. So the record of an
answer that a client has got is with the kernel: it outlives the process, though not a loss of power.

The spool of a process has a bound. While it is full, or the disk is, answers leave without their records, which are
counted; the count is written once there is room again.
"""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.spool.record import NO_ID, SEGMENT_HEAD, Kind, Lost, RowContext, encode_record
from penstock.spool.segments import begin_segment, size_bytes

_MAX_SEGMENT_BYTES = 64 << 20
_RETRY_S = 1.0
"""How long a spool that cannot be written is left alone."""

_log = logging.getLogger(__name__)

Leave = Callable[[], None]
"""Lets an answer, or a piece of it, leave."""
Soon = Callable[[Callable[[], None]], object]
"""Calls a function when this turn of the loop is over."""


class SpoolWriter:
    """The spool of one process."""

    def __init__(self, folder: Path, max_bytes: int, soon: Soon, now_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_segment_bytes = min(_MAX_SEGMENT_BYTES, max_bytes // 8)
        self._soon = soon
        self._now_s = now_s
        self._pieces: list[bytes] = []
        self._records = 0
        """In the pieces."""
        self._leaving: list[Leave] = []
        self._told: dict[bytes, int] = {}
        """Contexts that the segment tells, or the pieces will, and their numbers there; told anew after a failure."""
        self._descriptor: int | None = None
        self._segment_bytes = 0
        self._other_bytes = 0
        """Of the segments beside the one that is written."""
        self._blocked_until_s: float | None = None
        self._untold = 0
        """Records that were lost and that no record tells of yet."""
        self.written = 0
        """Records that were written."""
        self.lost = 0
        """Records that could not be written."""

    def add(
        self,
        leave: Leave,
        context: bytes,
        kind: int,
        request_id: bytes,
        received_us: int = 0,
        total_us: int = 0,
        status: int = 0,
        flags: int = 0,
        notes: bytes = b"",
        request: bytes = b"",
        answer: bytes = b"",
    ) -> None:
        """Write a record at the end of this turn, then let go what it tells of. `context` is encoded already."""
        if not self._leaving:
            self._soon(self.flush)
        number = self._told.get(context)
        if number is None:
            number = self._told[context] = len(self._told)
            self._pieces += encode_record(Kind.CONTEXT, number, answer=context)
        self._pieces += encode_record(
            kind, number, request_id, received_us, total_us, status, flags, notes, request, answer
        )
        self._records += 1
        self._leaving.append(leave)

    def add_row(self, leave: Leave, table: str, row: bytes, received_us: int = 0) -> None:
        """Write a row for a table at the end of this turn, then let go what it tells of.

        Args:
            leave: lets it go.
            table: `catalog.schema.table`.
            row: a JSON object whose keys are columns of that table.
            received_us: when what it tells of happened, microseconds since 1970.
        """
        context = msgspec.json.encode(RowContext(table))
        self.add(leave, context, Kind.ROW, NO_ID, received_us, answer=row)

    def flush(self) -> None:
        """Write what was added and let the answers leave; happens at the end of a turn by itself."""
        records, self._records = self._records, 0
        if records:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if self._write(data):
                self.written += records
            else:
                self.lost += records
                self._untold += records
        leaving, self._leaving = self._leaving, []
        for leave in leaving:
            try:
                leave()
            except Exception:  # noqa: BLE001 - the others must leave all the same
                _log.exception("an answer could not leave")

    def close(self) -> None:
        """Write what is left, and write no more."""
        self.flush()
        self._end_segment()

    def _write(self, data: bytes) -> bool:
        """Append to the segment; False if there is no room, which is not tried again for a while."""
        if self._blocked_until_s is not None and self._now_s() < self._blocked_until_s:
            self._told.clear()
            return False
        try:
            if self._untold:
                lost = msgspec.json.encode(Lost(self._untold))
                data = b"".join(encode_record(Kind.LOST, 0, answer=lost)) + data
            self._make_room(len(data))
            self._append(data)
        except OSError as exc:
            self._block(exc)
            return False
        if self._blocked_until_s is not None:
            _log.warning("the spool is written again; %d records are missing so far", self.lost)
        self._blocked_until_s = None
        self._untold = 0
        if self._segment_bytes >= self._max_segment_bytes:
            self._end_segment()
        return True

    def _make_room(self, size: int) -> None:
        if self._descriptor is None or self._needs_more_than_it_may(size):
            self._other_bytes = size_bytes(self._folder) - self._segment_bytes  # somebody empties it
        if self._needs_more_than_it_may(size):
            raise OSError(errno.ENOSPC, f"it holds the {self._max_bytes} bytes that it may")
        if self._descriptor is None:
            self._descriptor = begin_segment(self._folder)
            self._append(SEGMENT_HEAD)

    def _needs_more_than_it_may(self, size: int) -> bool:
        return self._other_bytes + self._segment_bytes + size > self._max_bytes

    def _append(self, data: bytes) -> None:
        """Append all of it, or leave the segment as it was; if not even that is possible, leave the segment."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, "there is no segment")
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._segment_bytes)
            except OSError:
                self._end_segment()
            raise
        self._segment_bytes += len(data)

    def _block(self, cause: OSError) -> None:
        if self._blocked_until_s is None:
            _log.error("the spool %s cannot be written, answers leave without their records: %s", self._folder, cause)
        self._blocked_until_s = self._now_s() + _RETRY_S
        self._told.clear()

    def _end_segment(self) -> None:
        self._told.clear()
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # written is what was written; a close has nothing to add
                os.close(self._descriptor)
            self._descriptor = None
            self._segment_bytes = 0
