"""The disk is asked to take what was written, in a thread, within the interval, and no write waits for it."""

import os
import threading
from pathlib import Path

import pytest

from penstock.spool.record import Kind, encode_record
from penstock.spool.segments import is_being_written, segments
from penstock.spool.writer import SpoolWriter


class Disk:
    """Plays `fdatasync`: notes what was synced and by whom, and may take its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[tuple[str, int]] = []
        self.threads: set[threading.Thread] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.error: OSError | None = None
        self._changed = threading.Condition()
        monkeypatch.setattr(os, "fdatasync", self._sync)
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        with self._changed:
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            self.synced.append((path.name, path.stat().st_size if path.is_file() else 0))
            self.threads.add(threading.current_thread())
            self._changed.notify_all()
        assert self.may_go_on.wait(30)
        if self.error is not None:
            raise self.error

    def wait_for(self, name: str, size: int = 0) -> None:
        """Until so much of a file was synced."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(n == name and s >= size for n, s in self.synced), 30), self.synced


def add(writer: SpoolWriter, answer: bytes = b"x") -> None:
    """A turn with one record."""
    writer.add(lambda: None, encode_record(Kind.WHOLE, writer.number_of(b"{}"), b"1" * 36, answer=answer))
    writer.flush()


def size_of(folder: Path) -> int:
    """Of the newest segment."""
    return segments(folder)[-1].stat().st_size


def test_p5_1_what_is_written_is_synced_with_its_folder_by_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    writer = SpoolWriter(tmp_path / "gateway-0", 1 << 20, lambda _: None, sync_s=0.01)
    add(writer)
    disk.wait_for("gateway-0")
    disk.wait_for("0000000001.spool", size_of(tmp_path / "gateway-0"))
    add(writer)
    disk.wait_for("0000000001.spool", size_of(tmp_path / "gateway-0"))
    assert threading.current_thread() not in disk.threads
    writer.close()


def test_p5_1_a_disk_that_hangs_keeps_no_answer_and_segments_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    disk.may_go_on.clear()
    writer = SpoolWriter(tmp_path, 1 << 20, lambda _: None, sync_s=0.001)
    add(writer)
    disk.wait_for("0000000001.spool")
    for _ in range(5):
        add(writer, bytes(100_000))
    assert writer.written == 6, "every record was written, and let its answer leave"
    assert len(segments(tmp_path)) >= 3
    assert [is_being_written(path) for path in segments(tmp_path)][:-1] == [False] * (len(segments(tmp_path)) - 1)
    disk.may_go_on.set()
    writer.close()
    for path in segments(tmp_path):
        disk.wait_for(path.name, path.stat().st_size)


def test_p5_1_a_disk_that_cannot_take_it_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(monkeypatch)
    disk.error = OSError(5, "Input/output error")
    writer = SpoolWriter(tmp_path, 1 << 20, lambda _: None, sync_s=0.001)
    add(writer)
    disk.wait_for("0000000001.spool")
    writer.close()
    assert "a loss of power may lose it" in caplog.text
    assert writer.written == 1


def test_p5_1_without_an_interval_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    before = threading.active_count()
    writer = SpoolWriter(tmp_path, 1 << 20, lambda _: None)
    add(writer)
    assert threading.active_count() == before
    writer.close()
    assert disk.synced == []
