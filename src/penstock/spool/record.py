"""Records of the spool, version 1: bytes to records and back. `docs/spool-format.md` tells them in words.

A record is a prefix of 8 bytes, little-endian, and a payload:

    u32 payload length | u32 CRC-32 of the payload | payload

The payload is a head of 68 bytes, then notes, request and answer, one after the other:

    u8 kind | u8 flags | u16 status | u32 context | 36 bytes request id | u64 received, us since 1970 | u32 total us |
    u32 length of notes | u32 length of request | u32 zero
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum, IntFlag
from zlib import crc32

import msgspec

VERSION = 1
MAGIC = b"PENSTOCK"
NO_ID = b"\0" * 36
_MAX_U32 = (1 << 32) - 1
_SEGMENT = struct.Struct("<8sH6s")
_PREFIX = struct.Struct("<II")
_HEAD = struct.Struct("<BBHI36sQIII4x")
_unpack_prefix, _unpack_head = _PREFIX.unpack_from, _HEAD.unpack_from


def segment_head(writer: bytes) -> bytes:
    """What a segment begins with; `writer` is a number of 6 bytes that its process drew for itself."""
    return _SEGMENT.pack(MAGIC, VERSION, writer)


SEGMENT_HEAD = segment_head(b"")
"""That of a process without such a number."""


class Kind(IntEnum):
    """What a record tells."""

    CONTEXT = 1
    """What many requests have in common: JSON in place of the answer, under a number that later records name."""
    WHOLE = 2
    """A request and its whole answer."""
    START = 3
    """A request whose answer is a stream, before its first byte leaves."""
    CHUNK = 4
    """A piece of that answer, before it leaves."""
    END = 5
    """The end of that stream, before its end leaves."""
    LOST = 6
    """Records that could not be written before this one: JSON in place of the answer."""
    ROW = 7
    """A row for a table that its context names: JSON in place of the answer, its keys are columns."""


class Flag(IntFlag):
    """What is missing in a record, and why."""

    REQUEST_TOO_LARGE = 1
    """The request is over the limit and not here."""
    ANSWER_TOO_LARGE = 2
    """The answer is over the limit and not here; of a stream, the rest of it."""
    NOT_SAMPLED = 4
    """The request is told for the sake of usage only: neither body is here."""
    NOT_REDACTED = 8
    """The request holds what may not be logged, and could not be read to take that out: it is not here."""


NOTHING_MISSING = Flag(0)


class Context(msgspec.Struct, frozen=True):
    """What the requests of one caller to one served entity have in common."""

    endpoint_id: str
    endpoint_name: str
    config_version: int
    entity_id: str
    entity_name: str
    requester: str
    api: str
    """Path of the OpenAI-shaped route below `/serving-endpoints/`; empty for invocations."""
    content_type: str
    """Of the request."""
    sampling_fraction: float
    """The share of requests whose bodies are here."""
    model_name: str = ""
    model_version: str = ""
    payload_table: str = ""
    """The AI Gateway's table for them, `catalog.schema.table`; empty for none."""
    legacy_table: str = ""
    """The table of `auto_capture_config`; empty for none."""
    tracks_usage: bool = False
    """Whether they are told in the usage table."""


class RowContext(msgspec.Struct, frozen=True):
    """What rows for one table have in common: the context of records of kind ROW."""

    table: str
    """`catalog.schema.table`."""


class Lost(msgspec.Struct, frozen=True):
    """How much is missing before a record of kind LOST."""

    records: int
    requests: dict[str, int] = {}
    """Requests that are missing, wholly or in part, by the id of their endpoint."""

    def plus(self, records: int, requests: Mapping[str, int]) -> "Lost":
        """With so much more."""
        added = {endpoint: self.requests.get(endpoint, 0) + count for endpoint, count in requests.items()}
        return Lost(self.records + records, {**self.requests, **added})


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record, decoded."""

    kind: Kind
    flags: Flag = NOTHING_MISSING
    status: int = 0
    """Of the answer, as the client got it."""
    context: int = 0
    request_id: str = ""
    received_us: int = 0
    """When the request was whole, microseconds since 1970."""
    total_us: int = 0
    """From then until the answer was ready to leave."""
    notes: bytes = b""
    """What the replica told with its END frame, JSON: execution time, `client_request_id`, tokens; empty on errors."""
    request: bytes = b""
    answer: bytes = b""


class Damaged(Exception):
    """What was read is no segment of ours."""


def encode_record(
    kind: int,
    context: int,
    request_id: bytes = NO_ID,
    received_us: int = 0,
    total_us: int = 0,
    status: int = 0,
    flags: int = 0,
    notes: bytes = b"",
    request: bytes = b"",
    answer: bytes = b"",
) -> tuple[bytes, bytes]:
    """A record as its prefix and its payload."""
    head = _HEAD.pack(
        kind,
        flags,
        status,
        context,
        request_id,
        received_us,
        total_us if total_us < _MAX_U32 else _MAX_U32,
        len(notes),
        len(request),
    )
    payload = b"".join((head, notes, request, answer))
    return _PREFIX.pack(len(payload), crc32(payload)), payload


def head_of(payload: bytes) -> tuple[int, bytes]:
    """The context's number and the request's id of an encoded record."""
    _, _, _, context, request_id, *_ = _HEAD.unpack_from(payload)
    return context, request_id


def endpoint_of(context: bytes) -> str:
    """The id of the endpoint that an encoded context tells; empty if it tells none."""
    return msgspec.json.decode(context, type=_Owner).endpoint_id


class _Owner(msgspec.Struct):
    endpoint_id: str = ""


def read_records(segment: bytes, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """The whole records of a segment from an offset on, each with the offset behind it.

    It ends where a record is not whole, or not as it was written: a crash may have torn the last one. Whether anything
    is there is for the caller to see, by the last offset.

    Raises:
        Damaged: it does not begin as a segment does, or holds a record of a kind that this version does not have.
    """
    if offset == 0:
        if writer_of_segment(segment) is None:
            return  # a crash came just after it was made
        offset = len(SEGMENT_HEAD)
    yield from records_in(segment, offset)


def records_in(data: bytes, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """The same for a part of a segment that begins at a record.

    Raises:
        Damaged: a record is of a kind that this version does not have.
    """
    view, size = memoryview(data), len(data)
    while size - offset >= _PREFIX.size:
        length, checksum = _unpack_prefix(data, offset)
        start = offset + _PREFIX.size
        offset = start + length
        if length < _HEAD.size or offset > size or crc32(view[start:offset]) != checksum:
            return
        kind, flags, status, context, request_id, received_us, total_us, notes, request = _unpack_head(data, start)
        notes_at = start + _HEAD.size
        request_at = notes_at + notes
        answer_at = request_at + request
        if kind not in _KINDS or answer_at > offset:
            raise Damaged(f"a record of kind {kind} is none of version {VERSION}")
        record = Record(
            _KINDS[kind],
            _FLAGS[flags],
            status,
            context,
            request_id.rstrip(b"\0").decode("ascii", "replace"),
            received_us,
            total_us,
            data[notes_at:request_at],
            data[request_at:answer_at],
            data[answer_at:offset],
        )
        yield record, offset


def size_of_record(data: bytes) -> int | None:
    """How many bytes the record takes that begins here, if it is whole; None if that cannot be told."""
    if len(data) < _PREFIX.size:
        return None
    length: int = _PREFIX.unpack_from(data)[0]
    return _PREFIX.size + length if length >= _HEAD.size else None


def writer_of_segment(head: bytes) -> str | None:
    """The number of the process that wrote a segment, from its first bytes; None if they are not all there yet.

    Raises:
        Damaged: it does not begin as a segment does.
    """
    if len(head) < len(SEGMENT_HEAD):
        if head.startswith(MAGIC) or MAGIC.startswith(head):
            return None
        raise Damaged("it is too short for a segment")
    magic, version, writer = _SEGMENT.unpack_from(head)
    if magic != MAGIC:
        raise Damaged("it does not begin as a segment does")
    if version != VERSION:
        raise Damaged(f"it is a segment of version {version}, not {VERSION}")
    return str(writer.hex())


# Looking one up in an enum costs more than all else that is done for a record.
_KINDS = {int(kind): kind for kind in Kind}
_FLAGS = tuple(map(Flag, range(256)))
