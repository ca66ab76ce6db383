"""The spool's writer: a record is on disk before what it tells of leaves; whatever the disk does, everything leaves."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from penstock.spool import writer as writer_module
from penstock.spool.record import (
    Kind,
    Lost,
    Record,
    RowContext,
    encode_record,
    read_records,
    writer_of_segment,
)
from penstock.spool.segments import is_being_written, living_writer, segments, size_bytes
from penstock.spool.writer import SpoolWriter

CONTEXT = b'{"endpoint_name":"x"}'


@dataclass
class Bench:
    """A writer whose turns end when the test says so."""

    folder: Path
    max_bytes: int = 1 << 20
    now_s: float = 100.0
    turns: list[Callable[[], None]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = SpoolWriter(self.folder, self.max_bytes, self.turns.append, lambda: self.now_s)

    def add(
        self, name: str, context: bytes = CONTEXT, answer: bytes = b"", then: Callable[[], None] | None = None
    ) -> None:
        """A record, and something that leaves after it."""

        def leave() -> None:
            if then is not None:
                then()
            self.left.append(name)

        number = self.writer.number_of(context)
        self.writer.add(leave, encode_record(Kind.WHOLE, number, name.encode().ljust(36, b"\0"), answer=answer))

    def turn(self) -> None:
        """The turn is over."""
        turns, self.turns[:] = list(self.turns), []
        for act in turns:
            act()

    def add_at_once(self, *names: str, **options: bytes) -> None:
        """A turn that adds these."""
        for name in names:
            self.add(name, **options)
        self.turn()

    def records(self) -> list[Record]:
        """All that can be read."""
        return [record for path in segments(self.folder) for record, _ in read_records(path.read_bytes())]

    def names(self) -> list[str]:
        """Of the whole records that can be read."""
        return [record.request_id for record in self.records() if record.kind is Kind.WHOLE]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "spool" / "gateway")


def test_p4_5_records_are_there_when_the_answers_leave_and_a_turn_is_one_write(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    write = os.write

    def counting(descriptor: int, data: bytes) -> int:
        nonlocal writes
        writes += 1
        return write(descriptor, data)

    bench.add_at_once("first")  # and the segment is begun
    monkeypatch.setattr(os, "write", counting)
    seen: list[list[str]] = []
    for name in ("a", "b", "c"):
        bench.add(name, then=lambda: seen.append(bench.names()))
    assert bench.left == ["first"], "nothing leaves within the turn"
    bench.turn()
    assert bench.left == ["first", "a", "b", "c"]
    assert seen == [["first", "a", "b", "c"]] * 3
    assert writes == 1


def test_p4_5_a_context_is_told_once_a_segment_before_what_names_it(bench: Bench) -> None:
    bench.add_at_once("1")
    bench.add("2", b"other")
    bench.add_at_once("3")
    records = bench.records()
    assert [(record.kind, record.context) for record in records] == [
        (Kind.CONTEXT, 0),
        (Kind.WHOLE, 0),
        (Kind.CONTEXT, 1),
        (Kind.WHOLE, 1),
        (Kind.WHOLE, 0),
    ]
    assert [record.answer for record in records if record.kind is Kind.CONTEXT] == [CONTEXT, b"other"]


def test_p4_5_segments_follow_each_other_and_each_can_be_read_alone(bench: Bench) -> None:
    for number in range(40):
        bench.add_at_once(str(number), answer=bytes(20_000))
    paths = segments(bench.folder)
    assert len(paths) > 3
    for path in paths:
        first, *_ = [record for record, _ in read_records(path.read_bytes())]
        assert first.kind is Kind.CONTEXT
    assert bench.names() == [str(number) for number in range(40)]
    assert [is_being_written(path) for path in paths][:-1] == [False] * (len(paths) - 1)
    bench.add("last")
    bench.writer.close()
    assert bench.left[-1] == "last"
    assert not any(map(is_being_written, segments(bench.folder)))


def test_p4_5_only_the_owner_can_read_it(bench: Bench) -> None:
    bench.add_at_once("1")
    (path,) = segments(bench.folder)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert is_being_written(path)


def test_p4_5_a_later_process_begins_a_segment_of_its_own(bench: Bench) -> None:
    bench.add_at_once("1")
    later = Bench(bench.folder)
    later.add_at_once("refused while the other writes here")
    bench.writer.close()
    later.now_s += 10
    later.add_at_once("2")
    assert later.left == ["refused while the other writes here", "2"]
    assert [path.name for path in segments(bench.folder)] == ["0000000001.spool", "0000000002.spool"]
    assert bench.names() == ["1", "2"]


def test_p4_5_a_full_spool_fails_no_answer_and_tells_how_many_it_lost(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=100_000)
    for number in range(40):
        bench.add_at_once(str(number), answer=bytes(5000))
        bench.now_s += 10
    assert bench.left == [str(number) for number in range(40)]
    assert size_bytes(tmp_path) <= 100_000
    kept = bench.names()
    assert 10 < len(kept) < 20
    assert (bench.writer.written, bench.writer.lost) == (len(kept), 40 - len(kept))
    oldest, *_ = segments(tmp_path)
    oldest.unlink()  # somebody has taken it away
    bench.now_s += 10
    bench.add_at_once("after")
    (told,) = [record for record in bench.records() if record.kind is Kind.LOST]
    assert msgspec.json.decode(told.answer, type=Lost) == Lost(40 - len(kept))
    assert bench.names()[-1] == "after"


@pytest.mark.parametrize("written", [0, 1, 50])
def test_p4_5_a_disk_that_refuses_leaves_no_half_record_and_is_left_alone_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    bench.add_at_once("before")
    tries = 0
    write = os.write

    def refusing(descriptor: int, data: bytes) -> int:
        nonlocal tries
        tries += 1
        if tries % 2 and written:
            return write(descriptor, data[:written])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(writer_module.os, "write", refusing)
        bench.add_at_once("a", "b")
        tries_at_once = tries
        bench.add_at_once("c")
        assert tries == tries_at_once, "it is not tried with every turn"
    bench.now_s += 10
    bench.add_at_once("after")
    assert bench.left == ["before", "a", "b", "c", "after"]
    assert bench.names() == ["before", "after"]
    assert (bench.writer.written, bench.writer.lost) == (2, 3)
    assert len(segments(bench.folder)) == (2 if written else 1), "what a write has torn is the end of its segment"
    names = {record.context: record.answer for record in bench.records() if record.kind is Kind.CONTEXT}
    assert {names[record.context] for record in bench.records() if record.kind is Kind.WHOLE} == {CONTEXT}


def test_p4_5_a_folder_that_cannot_be_made_fails_no_answer(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    bench = Bench(tmp_path / "spool" / "gateway")
    bench.add_at_once("a", "b")
    assert (bench.left, bench.writer.lost) == (["a", "b"], 2)
    (tmp_path / "spool").unlink()
    bench.now_s += 10
    bench.add_at_once("c")
    assert bench.names() == ["c"]


def test_p4_5_an_answer_that_fails_to_leave_keeps_no_other_back(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise RuntimeError("a mistake of ours")

    bench.add("a", then=fails)
    bench.add_at_once("b")
    assert bench.left == ["b"]
    assert "could not leave" in caplog.text


def test_p4_5_what_is_larger_than_a_segment_is_a_segment(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=1 << 20)
    bench.add_at_once("large", answer=bytes(500_000))
    bench.add_at_once("next")
    assert [len(list(read_records(path.read_bytes()))) for path in segments(tmp_path)] == [2, 2]
    assert len(b"".join(encode_record(Kind.WHOLE, 0, answer=b"x"))) == 77


def test_p5_2_rows_for_tables_share_a_context_by_table_and_keep_their_order(bench: Bench) -> None:
    for number in range(2):
        bench.writer.add_row(lambda: None, "main.default.truths", b'{"n":%d}' % number, 7)
        bench.writer.add_row(lambda: None, "system.access.audit", b"{}")
    bench.turn()
    found = bench.records()
    tables = {
        record.context: msgspec.json.decode(record.answer, type=RowContext).table
        for record in found
        if record.kind is Kind.CONTEXT
    }
    rows = [(tables[r.context], r.answer, r.received_us, r.request_id) for r in found if r.kind is Kind.ROW]
    assert rows == [
        ("main.default.truths", b'{"n":0}', 7, ""),
        ("system.access.audit", b"{}", 0, ""),
        ("main.default.truths", b'{"n":1}', 7, ""),
        ("system.access.audit", b"{}", 0, ""),
    ]
    assert len(tables) == 2


def test_p5_2_segments_tell_which_process_wrote_them_and_whether_it_lives(bench: Bench, tmp_path: Path) -> None:
    bench.add_at_once("a")
    (first,) = segments(bench.folder)
    number = writer_of_segment(first.read_bytes())
    assert number == living_writer(bench.folder)
    assert number is not None
    assert len(number) == 12
    first.unlink()
    bench.writer.close()
    assert living_writer(bench.folder) is None
    assert living_writer(tmp_path / "nothing") is None


def test_p5_2_a_number_of_a_segment_is_not_used_again_by_the_same_process(bench: Bench) -> None:
    bench.max_bytes = 8 << 10
    bench.writer = SpoolWriter(bench.folder, bench.max_bytes, bench.turns.append)
    numbers = []
    for _ in range(3):
        bench.add_at_once("a", answer=bytes(1 << 10))
        numbers += [path.stem for path in segments(bench.folder)]
        for path in segments(bench.folder):
            path.unlink()
    assert len(set(numbers)) == len(numbers) == 3
