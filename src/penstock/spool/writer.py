"""Writes records, and only then lets the answers leave that they tell of: one write for each turn of the loop.

What a turn adds is collected; at its end all of it is written at once, and the answers follow. So the record of an
answer that a client has got is with the kernel: it outlives the process. A thread sees to it that it soon outlives a
loss of power as well (`spool/sync.py`).

The spool of a process has a bound. While it is full, or the disk is, or it cannot be written for another reason, what
was to be logged either leaves without its record, which is counted (`spool/tally.py`), or something else happens in its
place: whoever adds a record decides. A write that fails half way ends its segment, so that a reader finds what a crash
would have left: whole records, and nothing behind the torn one.
"""

import errno
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.faults import fault_point
from penstock.spool.batch import lost, whole_records
from penstock.spool.record import NO_ID, Kind, Lost, RowContext, encode_record, endpoint_of, segment_head
from penstock.spool.segments import begin_segment, claim, end_segment, size_bytes
from penstock.spool.sync import Syncer
from penstock.spool.tally import Tally

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

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        soon: Soon,
        now_s: Callable[[], float] = time.monotonic,
        sync_s: float = 0.0,
    ) -> None:
        """Write nothing yet.

        Args:
            folder: for the segments; made with the first of them.
            max_bytes: of all segments together.
            soon: calls a function at the end of the turn.
            now_s: the time.
            sync_s: how long after a write the disk itself is to have it; 0 leaves that to the kernel.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_segment_bytes = min(_MAX_SEGMENT_BYTES, max_bytes // 8)
        self._soon = soon
        self._now_s = now_s
        self._syncer = Syncer(sync_s) if sync_s else None
        self._pieces: list[bytes] = []
        self._leaving: list[Leave] = []
        """One for each record in the pieces."""
        self._instead: dict[int, Leave] = {}
        """What happens in place of those of `_leaving` if their records cannot be written, by their number."""
        self._required: set[int] = set()
        """The numbers of those that do not leave then."""
        self._told: dict[bytes, int] = {}
        """Contexts that the segment tells, or the pieces will, and their numbers there; told anew after a failure."""
        self._identity = secrets.token_bytes(6)
        """The number that the segments bear of this process."""
        self._claim: int | None = None
        self._number = 0
        """Of the segment that was begun last."""
        self._descriptor: int | None = None
        self._segment_bytes = 0
        self._other_bytes = 0
        """Of the segments beside the one that is written."""
        self._blocked_until_s: float | None = None
        self._untold = Lost(0)
        """What was lost and no record tells of yet."""
        self.tally = Tally(folder)
        """How many requests were not logged, for each endpoint."""
        self.written = 0
        """Records that were written."""
        self.lost = 0
        """Records that could not be written."""

    def number_of(self, context: bytes) -> int:
        """The number under which a record that is added now names its context, which is encoded already."""
        number = self._told.get(context)
        if number is None:
            number = self._told[context] = len(self._told)
            self._pieces += encode_record(Kind.CONTEXT, number, answer=context)
        return number

    def add(
        self, leave: Leave, record: tuple[bytes, bytes], instead: Leave | None = None, *, is_required: bool = False
    ) -> None:
        """Write a record at the end of this turn, then let go what it tells of.

        If it cannot be written, `instead` is called in place of `leave`. If that lets nothing go, the record is
        required, and nothing is missing without it.
        """
        if not self._leaving:
            self._soon(self.flush)
        self._pieces += record
        if instead is not None:
            self._instead[len(self._leaving)] = instead
            if is_required:
                self._required.add(len(self._leaving))
        self._leaving.append(leave)

    def add_row(self, leave: Leave, table: str, row: bytes, received_us: int = 0, instead: Leave | None = None) -> None:
        """Write a row for a table at the end of this turn, then let go what it tells of.

        Args:
            leave: lets it go.
            table: `catalog.schema.table`.
            row: a JSON object whose keys are columns of that table.
            received_us: when what it tells of happened, microseconds since 1970.
            instead: called in place of `leave` if the row cannot be written, and lets nothing go.
        """
        number = self.number_of(msgspec.json.encode(RowContext(table)))
        self.add(leave, encode_record(Kind.ROW, number, NO_ID, received_us, answer=row), instead, is_required=True)

    def flush(self) -> None:
        """Write what was added and let the answers leave; happens at the end of a turn by itself."""
        leaving, self._leaving = self._leaving, []
        if not leaving:
            return
        pieces, self._pieces = self._pieces, []
        instead, self._instead = self._instead, {}
        required, self._required = self._required, set()
        told = self._told
        data = b"".join(pieces)
        written = self._write(data)
        if written == len(data):
            self.written += len(leaving)
            for leave in leaving:
                _let(leave)
            return
        whole = whole_records(pieces, written)
        self.written += whole
        self._count_lost(lost(pieces, whole, required), {number: context for context, number in told.items()})
        for index, leave in enumerate(leaving):
            _let(leave if index < whole else instead.get(index, leave))

    def close(self) -> None:
        """Write what is left, and write no more."""
        self.flush()
        self._end_segment()
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None
        if self._syncer is not None:
            self._syncer.close()
        self.tally.close()

    def _write(self, data: bytes) -> int:
        """Append to the segment; tells how much of `data` is there. If not all, it is not tried again for a while."""
        if self._blocked_until_s is not None and self._now_s() < self._blocked_until_s:
            self._told = {}
            return 0
        ahead = b""
        if self._untold.records:
            ahead = b"".join(encode_record(Kind.LOST, 0, answer=msgspec.json.encode(self._untold)))
        try:
            descriptor = self._descriptor_with_room(len(ahead) + len(data))
        except OSError as exc:
            self._block(exc)
            return 0
        if not self._segment_bytes:
            ahead = segment_head(self._identity) + ahead
        fault_point("spool-before-write")
        written, failure = _append(descriptor, ahead + data if ahead else data)
        self._segment_bytes += written
        if written >= len(ahead):
            self._untold = Lost(0)
        if failure is not None:
            if written:
                self._end_segment()
            self._block(failure)
            return max(written - len(ahead), 0)
        if self._blocked_until_s is not None:
            _log.warning("the spool is written again; %d records are missing so far", self.lost)
            self._blocked_until_s = None
        fault_point("spool-after-write")
        if self._syncer is not None:
            self._syncer.note_write()
        if self._segment_bytes >= self._max_segment_bytes:
            self._end_segment()
        return len(data)

    def _count_lost(self, requests: list[tuple[int, bytes]], contexts: dict[int, bytes]) -> None:
        """Count what leaves without its records, told by the contexts' numbers and the requests' ids."""
        self.lost += len(requests)
        owners = [endpoint_of(contexts[context]) for context, _ in dict.fromkeys(requests)]
        by_endpoint = Counter(owner for owner in owners if owner)
        for endpoint_id, count in by_endpoint.items():
            self.tally.add(endpoint_id, count)
        self._untold = self._untold.plus(len(requests), by_endpoint)

    def _descriptor_with_room(self, size: int) -> int:
        """The segment's descriptor, if need be of a new one.

        Raises:
            OSError: a segment cannot be begun, or the spool holds what it may.
        """
        if self._descriptor is None or self._needs_more_than_it_may(size):
            self._other_bytes = size_bytes(self._folder) - self._segment_bytes  # somebody empties it
        if self._needs_more_than_it_may(size):
            raise OSError(errno.ENOSPC, f"it holds the {self._max_bytes} bytes that it may")
        if self._descriptor is None:
            if self._claim is None:
                self._claim = claim(self._folder, self._identity)
            self._descriptor, self._number = begin_segment(self._folder, self._number)
            self.tally.open()
            if self._syncer is not None:
                self._syncer.begin(self._descriptor, self._folder)
        return self._descriptor

    def _needs_more_than_it_may(self, size: int) -> bool:
        return self._other_bytes + self._segment_bytes + size > self._max_bytes

    def _block(self, cause: OSError) -> None:
        if self._blocked_until_s is None:
            _log.error("the spool %s cannot be written: %s", self._folder, cause)
        self._blocked_until_s = self._now_s() + _RETRY_S
        self._told = {}
        self.tally.open()  # an earlier process may have laid it out

    def _end_segment(self) -> None:
        self._told = {}
        if self._descriptor is not None:
            end_segment(self._descriptor, None if self._syncer is None else self._syncer.end)
            self._descriptor = None
            self._segment_bytes = 0


def _append(descriptor: int, data: bytes) -> tuple[int, OSError | None]:
    """How much could be appended, and why no more if that is not all."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError as exc:
        return len(data) - len(rest), exc
    return len(data), None


def _let(leave: Leave) -> None:
    try:
        leave()
    except Exception:  # noqa: BLE001 - the others must leave all the same
        _log.exception("an answer could not leave")
