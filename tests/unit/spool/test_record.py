"""Records of the spool: what is read is what was written, and of a segment that was cut only whole records are read."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.spool.record import MAGIC, SEGMENT_HEAD, Damaged, Flag, Kind, Record, encode_record, read_records

IDS = st.uuids().map(str)
RECORDS = st.builds(
    Record,
    st.sampled_from(Kind),
    st.sampled_from([Flag(0), Flag.REQUEST_TOO_LARGE, Flag.REQUEST_TOO_LARGE | Flag.ANSWER_TOO_LARGE]),
    st.integers(0, 999),
    st.integers(0, 2**32 - 1),
    IDS,
    st.integers(0, 2**63),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=30),
    st.binary(max_size=60),
    st.binary(max_size=60),
)


def encoded(record: Record) -> bytes:
    """A record's bytes."""
    return b"".join(
        encode_record(
            record.kind,
            record.context,
            record.request_id.encode(),
            record.received_us,
            record.total_us,
            record.status,
            record.flags,
            record.notes,
            record.request,
            record.answer,
        )
    )


def read(segment: bytes) -> list[Record]:
    """All whole records of a segment."""
    return [record for record, _ in read_records(segment)]


@settings(deadline=None, derandomize=True)
@given(st.lists(RECORDS, max_size=6))
def test_p4_5_what_is_read_is_what_was_written(records: list[Record]) -> None:
    assert read(SEGMENT_HEAD + b"".join(map(encoded, records))) == records


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(RECORDS, max_size=5), st.integers(0, 1500), st.binary(max_size=20))
def test_p4_5_any_cut_leaves_the_whole_records_before_it(records: list[Record], cut: int, garbage: bytes) -> None:
    pieces = [encoded(record) for record in records]
    segment = SEGMENT_HEAD + b"".join(pieces)
    cut = min(cut, len(segment))
    ends = [len(SEGMENT_HEAD) + sum(map(len, pieces[: count + 1])) for count in range(len(pieces))]
    whole = sum(end <= cut for end in ends)
    assert read(segment[:cut]) == records[:whole]
    if cut >= len(SEGMENT_HEAD):
        found = read(segment[:cut] + garbage)
        assert found[:whole] == records[:whole]
        assert len(found) == whole or (segment[:cut] + garbage).startswith(segment[: ends[whole]])


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 10_000), st.integers(1, 255))
def test_p4_5_a_changed_byte_is_never_read_as_something_else(records: list[Record], at: int, change: int) -> None:
    segment = bytearray(SEGMENT_HEAD + b"".join(map(encoded, records)))
    at = len(SEGMENT_HEAD) + at % (len(segment) - len(SEGMENT_HEAD))
    segment[at] ^= change
    found = read(bytes(segment))
    assert found == records[: len(found)]
    assert len(found) < len(records)


def test_p4_5_reading_goes_on_where_it_ended() -> None:
    first, second = (encoded(Record(Kind.WHOLE, answer=answer)) for answer in (b"1", b"2"))
    ((record, offset),) = read_records(SEGMENT_HEAD + first)
    assert record.answer == b"1"
    ((record, end),) = read_records(SEGMENT_HEAD + first + second, offset)
    assert (record.answer, end) == (b"2", len(SEGMENT_HEAD + first + second))


@pytest.mark.parametrize("segment", [b"x", b"not a segment at all", struct.pack("<8sH6x", MAGIC, 2)])
def test_p4_5_what_is_no_segment_of_this_version_is_refused(segment: bytes) -> None:
    with pytest.raises(Damaged):
        read(segment)


def test_p4_5_a_kind_of_record_that_is_not_known_is_refused_and_not_passed_over() -> None:
    with pytest.raises(Damaged, match="kind 9"):
        read(SEGMENT_HEAD + b"".join(encode_record(9, 0)))


def test_p4_5_the_bytes_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "spool-format.md").read_text()
    shown = bytes.fromhex(page.rsplit("```", 2)[1])
    record = Record(
        Kind.WHOLE,
        status=200,
        context=3,
        request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
        received_us=1_700_000_000_000_000,
        total_us=812,
        notes=b'{"execution_us":7}',
        request=b"ab",
        answer=b"c",
    )
    assert encoded(record) == shown
    assert SEGMENT_HEAD == b"PENSTOCK\x01\0\0\0\0\0\0\0"
