"""Frames: whatever pieces the bytes come in, the same frames come out; what is no frame is refused."""

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.wire.frames import (
    MAX_PAYLOAD_BYTES,
    End,
    Frame,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    ProtocolError,
    RequestMeta,
    encode,
    encode_meta,
    encode_request,
    encode_struct,
    split_request,
)

FRAMES = st.builds(Frame, st.sampled_from(FrameType), st.integers(0, 2**64 - 1), st.binary(max_size=300))


def pieces_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream cut at these places."""
    places = sorted(cut % (len(stream) + 1) for cut in cuts)
    return [stream[low:high] for low, high in zip([0, *places], [*places, len(stream)], strict=True)]


@settings(deadline=None, derandomize=True)
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 5000), max_size=30))
def test_frames_survive_any_cutting_of_the_stream(frames: list[Frame], cuts: list[int]) -> None:
    stream = b"".join(encode(*frame) for frame in frames)
    decoder = FrameDecoder()
    assert [frame for piece in pieces_of(stream, cuts) for frame in decoder.feed(piece)] == frames


def test_frames_come_out_byte_by_byte_as_soon_as_they_are_whole() -> None:
    stream = encode(FrameType.STARTED, 7) + encode(FrameType.CHUNK, 7, b"ab")
    decoder = FrameDecoder()
    found = [(index, frame) for index in range(len(stream)) for frame in decoder.feed(stream[index : index + 1])]
    assert found == [(15, Frame(FrameType.STARTED, 7, b"")), (33, Frame(FrameType.CHUNK, 7, b"ab"))]


def test_the_header_is_sixteen_bytes_little_endian() -> None:
    assert encode(FrameType.CHUNK, 258, b"xyz") == b"\x03\0\0\0\x05\0\0\0\x02\x01\0\0\0\0\0\0xyz"


def test_a_payload_over_the_limit_is_refused_before_it_has_come() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        list(FrameDecoder().feed(struct.pack("<IB3xQ", MAX_PAYLOAD_BYTES + 1, FrameType.CHUNK, 1)))


def test_a_payload_at_the_limit_is_accepted() -> None:
    decoder = FrameDecoder()
    body = bytes(MAX_PAYLOAD_BYTES)
    (frame,) = decoder.feed(encode(FrameType.REQUEST, 1, body))
    assert len(frame.payload) == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_an_unknown_type_is_refused_after_the_frames_before_it(kind: int) -> None:
    frames = FrameDecoder().feed(encode(FrameType.END, 3) + struct.pack("<IB3xQ", 0, kind, 1))
    assert next(frames) == Frame(FrameType.END, 3, b"")
    with pytest.raises(ProtocolError, match=f"unknown frame type {kind}"):
        next(frames)


def test_a_request_is_split_into_what_it_was_made_of() -> None:
    meta = RequestMeta("text/csv; charset=utf-8")
    head, body = encode_request(9, encode_meta(meta), b"\0\xffbody")
    (frame,) = FrameDecoder().feed(head + body)
    assert frame.type is FrameType.REQUEST
    assert frame.request_id == 9
    assert split_request(frame.payload) == (meta, b"\0\xffbody")


def test_an_empty_body_is_a_request_too() -> None:
    assert split_request(encode_meta(RequestMeta())) == (RequestMeta("application/json"), b"")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x05",
        b"\0\0",
        b"\x02\0[]",
        b"\x64\0{}",
        b"\x16\0" + b'{"content_type":"a/b"}'[:-1] + b"x",
        b"\x15\0" + b'{"content_type": 12345}'[:21],
        b"\x14\0" + b'{"content_type":"\xff"}',
        (60_000).to_bytes(2, "little") + b'{"a":' + b"[" * 59_995,
    ],
    ids=["empty", "half a length", "no head", "no object", "cut off", "no JSON", "no string", "no UTF-8", "deep"],
)
def test_a_bad_request_payload_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        split_request(payload)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda b: bytes([len(b), 0]) + b)))
def test_garbage_is_never_worse_than_a_protocol_error(payload: bytes) -> None:
    try:
        meta, _ = split_request(payload)
    except ProtocolError:
        return
    assert isinstance(meta.content_type, str)


@pytest.mark.parametrize(
    "content",
    [
        Hello(protocol=1, slots=1, window=4, pid=77),
        Head(200, "application/json"),
        End(1234),
        End(5, "mine", {"team": "a"}, 3, 4),
    ],
)
def test_payloads_are_read_as_they_were_written(content: object) -> None:
    (frame,) = FrameDecoder().feed(encode_struct(FrameType.END, 1, content))
    assert msgspec.json.decode(frame.payload, type=type(content)) == content
