"""The frame protocol between gateways and replicas, version 1. `docs/frame-protocol.md` tells it in words.

A frame is a header of 16 bytes, little-endian, and a payload:

    u32 payload length | u8 type | 3 zero bytes | u64 request id | payload

A gateway connects to a replica's socket and waits for HELLO. It sends REQUEST and CANCEL; the replica answers each
request with STARTED, then HEAD, any number of CHUNKs and END, or with ERROR in place of what has not been sent yet.
Answers of several requests may come in any order and interleaved. CANCEL drops a request that has not started and
ends a stream, whose END then comes early; another prediction that has started is finished and answered.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

import msgspec

from penstock.domain.prediction import JSON, Api

PROTOCOL_VERSION = 1
MAX_PAYLOAD_BYTES = 17 << 20
"""The largest payload either side accepts: the largest request body, and its head."""
CHUNK_BYTES = 1 << 20
"""Answers are cut into chunks of at most this size."""

_HEADER = struct.Struct("<IB3xQ")
_HEADER_BYTES = _HEADER.size
_pack_header, _unpack_header = _HEADER.pack, _HEADER.unpack_from
_META_LENGTH = struct.Struct("<H")
_SOME_ID = "00000000-0000-4000-8000-000000000000"


class FrameType(IntEnum):
    """What a frame says."""

    HELLO = 1
    REQUEST = 2
    STARTED = 3
    HEAD = 4
    CHUNK = 5
    END = 6
    ERROR = 7
    CANCEL = 8


# Looking a member up in its enum costs more than packing a frame's header.
_REQUEST, _HEAD, _CHUNK, _END = FrameType.REQUEST, FrameType.HEAD, FrameType.CHUNK, FrameType.END


class Frame(NamedTuple):
    """One frame, decoded."""

    type: FrameType
    request_id: int
    payload: bytes


class Hello(msgspec.Struct, frozen=True):
    """Payload of HELLO: the replica is ready, and what it can take."""

    protocol: int
    slots: int
    """Requests that it works on at a time."""
    window: int
    """Requests beyond its slots that may wait inside it."""
    pid: int
    is_idempotent: bool = False
    """Whether a request that it had begun when it died may be begun again."""


class RequestMeta(msgspec.Struct, frozen=True, omit_defaults=True):
    """Head of a REQUEST payload; the body follows it."""

    content_type: str = JSON
    api: Api = Api.INVOCATIONS
    request_id: str = ""
    endpoint: str = ""
    traceparent: str = ""
    """The trace that it belongs to, as W3C Trace Context writes it."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """Payload of HEAD: how the answer begins."""

    status: int
    content_type: str
    is_stream: bool = False
    """The chunks that follow leave as they come; otherwise the answer leaves when it is whole."""


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """Payload of END: what only the replica knows of the finished answer."""

    execution_us: int
    client_request_id: str | None = None
    usage_context: dict[str, str] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def execution_us(end: bytes) -> int:
    """What an END payload tells of the execution, for whoever reads tens of thousands a second; 0 if it is none.

    It is the first field of `End`, and nothing but a number: a comma or the end of the document follows.
    """
    try:
        return int(end[_EXECUTION_AT : end.find(b",")])  # without a comma up to the last byte, which is a brace
    except ValueError:
        return 0


_EXECUTION_AT = len(b'{"execution_us":')


class Error(msgspec.Struct, frozen=True):
    """Payload of ERROR: the replica could not answer; the model is not at fault."""

    message: str


class ProtocolError(Exception):
    """The peer sent what is no frame; the connection is of no more use."""


def encode(kind: FrameType, request_id: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return _pack_header(len(payload), kind, request_id) + payload


def encode_empty(kind: FrameType, request_ids: Iterable[int]) -> bytes:
    """Frames without payload, one for each of these requests."""
    return b"".join([_pack_header(0, kind, request_id) for request_id in request_ids])


def encode_answer(request_id: int, head: bytes, body: bytes, end: bytes) -> bytes:
    """HEAD, CHUNKs and END of a whole answer, from the payloads of the first and the last."""
    if not 0 < len(body) <= CHUNK_BYTES:
        pieces = [encode(_HEAD, request_id, head), *encode_chunks(request_id, body), encode(_END, request_id, end)]
        return b"".join(pieces)
    return b"%b%b%b%b%b%b" % (
        _pack_header(len(head), _HEAD, request_id),
        head,
        _pack_header(len(body), _CHUNK, request_id),
        body,
        _pack_header(len(end), _END, request_id),
        end,
    )


def encode_chunks(request_id: int, data: bytes) -> list[bytes]:
    """A piece of an answer as CHUNKs; none if it is empty."""
    pieces = (data[offset : offset + CHUNK_BYTES] for offset in range(0, len(data), CHUNK_BYTES))
    return [encode(_CHUNK, request_id, piece) for piece in pieces]


def encode_struct(kind: FrameType, request_id: int, content: msgspec.Struct) -> bytes:
    """One frame whose payload is a struct as JSON."""
    return encode(kind, request_id, msgspec.json.encode(content))


def encode_request(request_id: int, meta: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A REQUEST as two buffers, so that a large body is not copied. `meta` comes from `encode_meta`."""
    return _pack_header(len(meta) + len(body), _REQUEST, request_id) + meta, body


def encode_meta(meta: RequestMeta) -> bytes:
    """The head of a REQUEST payload: u16 length and JSON."""
    document = msgspec.json.encode(meta)
    return _META_LENGTH.pack(len(document)) + document


class MetaForm:
    """Heads of REQUEST payloads that differ in the request's id alone, which is a UUID: encoded once for all."""

    __slots__ = ("_after", "_before")

    def __init__(self, meta: RequestMeta) -> None:
        encoded = encode_meta(msgspec.structs.replace(meta, request_id=_SOME_ID))
        self._before, _, self._after = encoded.partition(_SOME_ID.encode())

    def fill(self, request_id: str) -> bytes:
        """The head of the request of that id."""
        return self._before + request_id.encode() + self._after


_decode_meta = msgspec.json.Decoder(RequestMeta).decode


def split_request(payload: bytes) -> tuple[RequestMeta, bytes]:
    """Head and body of a REQUEST payload.

    Raises:
        ProtocolError: the payload is too short or its head is no JSON of that form.
    """
    try:
        (length,) = _META_LENGTH.unpack_from(payload)
        start = _META_LENGTH.size
        end = start + length
        if len(payload) < end:
            raise ProtocolError(f"the head of a REQUEST says {length} bytes and has {len(payload) - start}")
        meta = _decode_meta(payload[start:end])
    except (struct.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"bad REQUEST payload: {exc}") from exc
    return meta, payload[end:]


ANSWER = 0
"""Stands for HEAD, CHUNK and END that came together; no frame has it."""
Cut = tuple[int, int, bytes, bytes, bytes]


class FrameDecoder:
    """Turns a stream of bytes into frames, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = 0
        """How long the rest must be before there is anything in it."""

    def feed(self, data: bytes | bytearray) -> Iterator[Frame]:
        """Frames that are complete with `data`.

        Raises:
            ProtocolError: an unknown type or a payload over the limit.
        """
        for kind, request_id, payload, head, end in self.cut(data):
            if kind == ANSWER:
                yield from (Frame(_HEAD, request_id, head), Frame(_CHUNK, request_id, payload))
                yield Frame(_END, request_id, end)
            else:
                yield Frame(FrameType(kind), request_id, payload)

    def cut(self, data: bytes | bytearray) -> Iterator[Cut]:
        """The same as type, request id and payload, and nothing; for whoever takes tens of thousands a second.

        HEAD, a CHUNK and END of one request that came together are one: ANSWER, with what is in CHUNK, HEAD and END.

        Raises:
            ProtocolError: an unknown type or a payload over the limit.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data = bytes(self._rest)
            self._rest.clear()
        elif not isinstance(data, bytes):
            data = bytes(data)
        offset, end = 0, len(data)
        wanted = _HEADER.size
        try:
            while end - offset >= wanted:
                length, kind, request_id = _unpack_header(data, offset)
                start = offset + 16
                if end - start < length <= MAX_PAYLOAD_BYTES:
                    wanted = 16 + length
                    break
                if kind not in _KINDS or length > MAX_PAYLOAD_BYTES:
                    raise _breach(kind, length)
                offset = start + length
                if kind == _HEAD_KIND and end - offset >= 2 * _HEADER_BYTES:
                    length, second, second_id = _unpack_header(data, offset)
                    middle = offset + _HEADER_BYTES
                    at = middle + length
                    if second == _CHUNK_KIND and second_id == request_id and end - at >= _HEADER_BYTES:
                        length, third, third_id = _unpack_header(data, at)
                        last = at + _HEADER_BYTES
                        if third == _END_KIND and third_id == request_id and length <= end - last:
                            yield ANSWER, request_id, data[middle:at], data[start:offset], data[last : last + length]
                            offset = last + length
                            continue
                yield kind, request_id, data[start:offset], b"", b""
        finally:
            if offset < end:
                self._rest += data[offset:]
                self._wanted = wanted


_KINDS = frozenset(map(int, FrameType))
_HEAD_KIND, _CHUNK_KIND, _END_KIND = int(_HEAD), int(_CHUNK), int(_END)


def _breach(kind: int, length: int) -> ProtocolError:
    if length > MAX_PAYLOAD_BYTES:
        return ProtocolError(f"payload of {length} bytes is over the limit of {MAX_PAYLOAD_BYTES}")
    return ProtocolError(f"unknown frame type {kind}")
