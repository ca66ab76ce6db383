"""Answers that are streams: their records, put together until the end is there. What is kept of them has a bound."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.inference_tables.logged_request import LoggedRequest, read_notes
from penstock.spool.record import Context, Flag, Record

MAX_KEPT_BYTES = 48 << 20
"""Of all streams of one spool that have not ended; beyond it the largest loses its bodies."""


@dataclass(slots=True)
class OpenStream:
    """A stream that has begun and not ended."""

    start: Record
    context: Context
    writer: str
    """The process that it comes from."""
    segment: int
    """The number of the segment in which it began."""
    flags: Flag
    answer: bytearray = field(default_factory=bytearray)

    @property
    def kept_bytes(self) -> int:
        """What it takes of memory."""
        return len(self.start.request) + len(self.answer)


class Streams:
    """Those of one spool."""

    def __init__(self, max_answer_bytes: int, max_kept_bytes: int = MAX_KEPT_BYTES) -> None:
        self._open: dict[str, OpenStream] = {}
        self._max_answer_bytes = max_answer_bytes
        self._max_kept_bytes = max_kept_bytes
        self._kept_bytes = 0

    def begin(self, start: Record, context: Context, writer: str, segment: int) -> None:
        """A stream has begun."""
        stream = OpenStream(start, context, writer, segment, start.flags)
        self._open[start.request_id] = stream
        self._keep(stream.kept_bytes)

    def add(self, piece: Record) -> None:
        """A piece of its answer; one of a stream whose beginning is not there is passed over."""
        stream = self._open.get(piece.request_id)
        if stream is not None:
            self._append(stream, piece)

    def end(self, end: Record, context: Context) -> LoggedRequest:
        """The whole request."""
        stream = self._open.get(end.request_id)
        if stream is None:
            return _logged(OpenStream(Record(end.kind), context, "", 0, end.flags), end, is_incomplete=True)
        self._append(stream, end)
        self._kept_bytes -= stream.kept_bytes
        del self._open[end.request_id]
        return _logged(stream, end)

    def first_segment(self) -> int | None:
        """The number of the earliest segment in which a stream began that has not ended."""
        return min((stream.segment for stream in self._open.values()), default=None)

    def writers(self) -> set[str]:
        """The processes of which streams are open."""
        return {stream.writer for stream in self._open.values()}

    def cut_off(self, writer: str) -> Iterator[LoggedRequest]:
        """The requests of a process that is gone, as far as their answers have come."""
        return (_logged(stream, stream.start, is_incomplete=True) for stream in self._of(writer))

    def forget(self, writer: str) -> None:
        """Those of a process have become rows."""
        for stream in self._of(writer):
            del self._open[stream.start.request_id]
            self._kept_bytes -= stream.kept_bytes

    def _of(self, writer: str) -> list[OpenStream]:
        return [stream for stream in self._open.values() if stream.writer == writer]

    def _append(self, stream: OpenStream, piece: Record) -> None:
        stream.flags |= piece.flags
        before = len(stream.answer)
        if not stream.flags & Flag.ANSWER_TOO_LARGE:
            stream.answer += piece.answer
        if len(stream.answer) > self._max_answer_bytes:
            stream.flags |= Flag.ANSWER_TOO_LARGE
        if stream.flags & Flag.ANSWER_TOO_LARGE:
            stream.answer.clear()
        self._keep(len(stream.answer) - before)

    def _keep(self, added_bytes: int) -> None:
        self._kept_bytes += added_bytes
        while self._kept_bytes > self._max_kept_bytes and self._open:
            largest = max(self._open.values(), key=lambda stream: stream.kept_bytes)
            self._kept_bytes -= largest.kept_bytes
            largest.flags |= Flag.REQUEST_TOO_LARGE | Flag.ANSWER_TOO_LARGE
            largest.answer.clear()
            largest.start = Record(
                largest.start.kind,
                largest.start.flags,
                largest.start.status,
                largest.start.context,
                largest.start.request_id,
                largest.start.received_us,
            )


def _logged(stream: OpenStream, last: Record, *, is_incomplete: bool = False) -> LoggedRequest:
    return LoggedRequest(
        stream.context,
        last.request_id,
        stream.start.received_us or last.received_us,
        last.status or stream.start.status,
        stream.flags,
        read_notes(last.notes),
        stream.start.request,
        bytes(stream.answer),
        is_stream=True,
        is_incomplete=is_incomplete,
    )
