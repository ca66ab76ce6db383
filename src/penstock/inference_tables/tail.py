"""Reads the spool of one process after another as it grows, a chunk at a time, and deletes what has been committed.

A segment is over once a later one has begun, or its process is gone. The records of a process are read in their order;
the position behind each, its segment's number and its offset in one, rises. Where reading stands is not kept: a new
table writer reads all segments that are there again, and each table knows up to which position it has the rows.

A stream that has not ended keeps its segments from being deleted, until it ends or its process is gone.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from penstock.faults import fault_point
from penstock.inference_tables.chunk import MAX_BYTES, MAX_ROWS, Chunk, Refused
from penstock.inference_tables.legacy_payload import LEGACY_PAYLOAD, legacy_payload_row
from penstock.inference_tables.logged_request import LoggedRequest, read_notes
from penstock.inference_tables.parking import Parking
from penstock.inference_tables.payload import PAYLOAD, payload_row
from penstock.inference_tables.row_kinds import decode_row
from penstock.inference_tables.streams import Streams
from penstock.inference_tables.table_kind import BadRow
from penstock.inference_tables.usage import ENDPOINT_USAGE, USAGE_TABLE, usage_row
from penstock.spool.record import (
    SEGMENT_HEAD,
    Context,
    Damaged,
    Kind,
    Lost,
    Record,
    RowContext,
    records_in,
    size_of_record,
    writer_of_segment,
)
from penstock.spool.segments import living_writer, segments

_READ_BYTES = 4 << 20
_MAX_RECORD_BYTES = 128 << 20
"""What claims to be longer is no record."""
_OFFSET_BITS = 32
_INCOMPLETE = "incomplete"
_MAX_CONTEXTS = 10_000
_WHOLE = Kind.WHOLE

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Segment:
    """How far a segment has been read."""

    path: Path
    number: int
    writer: str | None = None
    """None until its head is there."""
    offset: int = 0
    is_over: bool = False
    """Read to its end, and no more will come."""
    contexts: dict[int, bytes] = field(default_factory=dict)


class Tail:
    """Reads one spool."""

    def __init__(self, folder: Path, parking: Parking, workspace_id: str, max_answer_bytes: int) -> None:
        self._folder = folder
        self._parking = parking
        self._workspace_id = workspace_id
        self._segments: dict[int, _Segment] = {}
        self._streams = Streams(max_answer_bytes)
        self._contexts: dict[bytes, Context] = {}
        self._pending: Chunk | None = None

    @property
    def name(self) -> str:
        """The folder's."""
        return self._folder.name

    def unread_bytes(self) -> int:
        """How much is there that has not been committed."""
        unread = 0
        for path in segments(self._folder):
            known = self._segments.get(int(path.stem))
            if known is None or not known.is_over:
                with contextlib.suppress(FileNotFoundError):
                    unread += path.stat().st_size - (known.offset if known is not None else len(SEGMENT_HEAD))
        return unread if self._pending is None else max(unread, 1)

    def end(self) -> int:
        """The position behind all that is there now; 0 if there is nothing."""
        paths = segments(self._folder)
        if not paths:
            return 0
        with contextlib.suppress(FileNotFoundError):
            return int(paths[-1].stem) << _OFFSET_BITS | paths[-1].stat().st_size
        return 0

    def next_chunk(self) -> Chunk | None:
        """What is to be committed next; the same again until it is `done`. None if there is nothing more now.

        Raises:
            OSError: the spool cannot be read.
        """
        if self._pending is None:
            self._pending = self._read_on() or self._cut_off()
        return self._pending

    def done(self) -> None:
        """The chunk is committed."""
        chunk, self._pending = self._pending, None
        app, _, last = (chunk.app if chunk is not None else "").rpartition("/")
        if last == _INCOMPLETE:
            self._streams.forget(app.rpartition("/")[2])

    def clean(self, sync: Callable[[], None]) -> None:
        """Delete segments that nobody needs any more, once `sync` has brought to the disk what was made of them.

        Raises:
            OSError: one cannot be deleted.
        """
        needed_from = self._streams.first_segment()
        is_synced = False
        for number, segment in sorted(self._segments.items()):
            if not segment.is_over or (needed_from is not None and number >= needed_from):
                break
            if not is_synced:
                sync()
                is_synced = True
            fault_point("segment-before-delete")
            segment.path.unlink(missing_ok=True)
            del self._segments[number]
            fault_point("segment-after-delete")

    def _read_on(self) -> Chunk | None:
        """The next records that make rows, if there are any."""
        living = living_writer(self._folder)  # asked before the reading: what comes later is read later
        paths = segments(self._folder)
        for path in paths:
            number = int(path.stem)
            segment = self._segments.setdefault(number, _Segment(path, number))
            while not segment.is_over:
                chunk, is_at_end = self._read(segment)
                if chunk is not None:
                    return chunk
                if not is_at_end or segment.is_over:
                    continue
                if path == paths[-1] and living is not None and segment.writer in {living, None}:
                    return None  # more may come
                self._finish(segment)
        return None

    def _read(self, segment: _Segment) -> tuple[Chunk | None, bool]:
        """The next records of a segment, if they make rows, and whether there are no more now."""
        data = self._bytes_at(segment)
        if segment.offset == 0:
            try:
                segment.writer = writer_of_segment(data)
            except Damaged as exc:
                self._give_up(segment, str(exc))
            if segment.writer is None:
                return None, True
            segment.offset = len(SEGMENT_HEAD)
            data = data[len(SEGMENT_HEAD) :]
        chunk = Chunk(f"{self.name}/{segment.writer}", 0)
        start, size, count = segment.offset, 0, 0
        try:
            for record, end in records_in(data):
                position = segment.number << _OFFSET_BITS | (start + end)
                self._take(record, position, chunk, segment)
                segment.offset = start + end
                chunk.end = position
                size, count = size + len(record.request) + len(record.answer), count + 1
                if count >= MAX_ROWS or size >= MAX_BYTES:
                    break
        except Damaged as exc:
            self._give_up(segment, str(exc))
        if chunk.tables or chunk.refused:
            return chunk, False
        return None, segment.offset == start

    def _bytes_at(self, segment: _Segment) -> bytes:
        with segment.path.open("rb") as file:
            file.seek(segment.offset)
            data = file.read(_READ_BYTES)
            size = size_of_record(data) if segment.offset else None
            if size is not None and len(data) < size <= _MAX_RECORD_BYTES:
                data += file.read(size - len(data))
        return data

    def _take(self, record: Record, position: int, chunk: Chunk, segment: _Segment) -> None:
        """What one record adds to a chunk.

        A record that makes no row is refused; the others go on.
        """
        try:
            if record.kind is _WHOLE:  # almost all are; to match them takes longer than to decode them
                self._add(_whole(record, self._context(segment, record)), position, chunk)
                return
            match record.kind:
                case Kind.CONTEXT:
                    segment.contexts[record.context] = record.answer
                case Kind.START:
                    context = self._context(segment, record)
                    self._streams.begin(record, context, segment.writer or "", segment.number)
                case Kind.CHUNK:
                    self._streams.add(record)
                case Kind.END:
                    self._add(self._streams.end(record, self._context(segment, record)), position, chunk)
                case Kind.ROW:
                    told = msgspec.json.decode(segment.contexts[record.context], type=RowContext)
                    table, kind, row = decode_row(told.table, record.answer)
                    chunk.add(table, kind, position, row)
                case Kind.LOST:
                    lost = msgspec.json.decode(record.answer, type=Lost).records
                    _log.warning("%s: %d record(s) were lost before they were written", self.name, lost)
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, BadRow) as exc:
            chunk.refused.append(Refused(position, f"{type(exc).__name__}: {exc}", record))

    def _context(self, segment: _Segment, record: Record) -> Context:
        """What a record's number stands for.

        Raises:
            KeyError: nothing in the segment tells.
            MsgspecError: what it tells is none.
        """
        told = segment.contexts[record.context]
        context = self._contexts.get(told)
        if context is None:
            if len(self._contexts) >= _MAX_CONTEXTS:
                self._contexts.clear()
            context = self._contexts[told] = msgspec.json.decode(told, type=Context)
        return context

    def _add(self, logged: LoggedRequest, position: int, chunk: Chunk) -> None:
        context = logged.context
        if logged.is_sampled:
            if context.payload_table:
                chunk.add(context.payload_table, PAYLOAD, position, payload_row(logged))
            if context.legacy_table:
                chunk.add(context.legacy_table, LEGACY_PAYLOAD, position, legacy_payload_row(logged))
        if context.tracks_usage:
            chunk.add(USAGE_TABLE, ENDPOINT_USAGE, position, usage_row(logged, self._workspace_id))

    def _finish(self, segment: _Segment) -> None:
        """No more comes: what is left after the last whole record is a torn one, or damaged."""
        if not segment.is_over:
            left = segment.path.stat().st_size - segment.offset
            if segment.offset and left:
                with segment.path.open("rb") as file:
                    file.seek(segment.offset)
                    size = size_of_record(file.read(16))
                if size is None and left >= len(SEGMENT_HEAD):
                    self._give_up(segment, f"the {left} bytes at {segment.offset} are no record")
                elif size is not None and size <= left:
                    self._give_up(segment, f"the checksum of the record at {segment.offset} is wrong")
            segment.is_over = True

    def _give_up(self, segment: _Segment, reason: str) -> None:
        self._parking.keep_damaged(self.name, segment.path, segment.offset, reason)
        segment.is_over = True

    def _cut_off(self) -> Chunk | None:
        """The streams of a process that is gone and whose segments have all been read."""
        unread = {segment.writer for segment in self._segments.values() if not segment.is_over}
        living = living_writer(self._folder)
        for writer in self._streams.writers() - unread - {living}:
            chunk = Chunk(f"{self.name}/{writer}/{_INCOMPLETE}", 1)
            for logged in self._streams.cut_off(writer):
                self._add(logged, 1, chunk)
            return chunk
        return None


def _whole(record: Record, context: Context) -> LoggedRequest:
    return LoggedRequest(
        context,
        record.request_id,
        record.received_us,
        record.status,
        record.flags,
        read_notes(record.notes),
        record.request,
        record.answer,
    )
