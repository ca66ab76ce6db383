"""Logs of children: appended, capped, rotated, read back."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.runtime.capture import CappedLog, Capture, read_log
from unit.builders import until


def test_a_log_makes_its_own_folder(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "x" / "y" / "out.log")
    log.write(b"one\n")
    log.write(b"two\n")
    assert (tmp_path / "x" / "y" / "out.log").read_bytes() == b"one\ntwo\n"


def test_a_full_log_is_set_aside_and_only_one_older_part_is_kept(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "out.log", max_bytes=10)
    for letter in "abcd":
        log.write(letter.encode() * 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.log", "out.log.1"]
    assert (tmp_path / "out.log").read_bytes() == b"dddddd"
    assert (tmp_path / "out.log.1").read_bytes() == b"cccccc"


def test_a_log_is_filled_to_its_last_byte(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "out.log", max_bytes=10)
    log.write(b"x" * 4)
    log.write(b"y" * 6)
    assert [path.name for path in tmp_path.iterdir()] == ["out.log"]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=30))
def test_what_is_kept_is_the_end_of_what_was_written(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    log = CappedLog(folder / "out.log", max_bytes=20)
    for piece in pieces:
        log.write(piece)
    kept = b"".join(path.read_bytes() for path in sorted(folder.iterdir(), reverse=True))
    assert b"".join(pieces).endswith(kept)
    assert all(path.stat().st_size <= 20 for path in folder.iterdir())
    assert len(kept) >= min(20, sum(map(len, pieces)))


def test_a_log_that_cannot_be_written_loses_lines_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    CappedLog(tmp_path / "file" / "out.log").write(b"lost")
    log = CappedLog(tmp_path / "out.log")
    (tmp_path / "out.log").mkdir()
    log.write(b"lost")
    (tmp_path / "out.log").rmdir()
    log.write(b"kept")
    assert (tmp_path / "out.log").read_bytes() == b"kept"


def test_reading_joins_both_parts_and_keeps_the_end(tmp_path: Path) -> None:
    log = tmp_path / "out.log"
    assert read_log(log, 100) == ""
    log.write_text("new\n")
    assert read_log(log, 100) == "new\n"
    log.with_name("out.log.1").write_text("old\n")
    assert read_log(log, 100) == "old\nnew\n"
    assert read_log(log, 6) == "d\nnew\n"


def test_bytes_that_are_no_text_are_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "out.log").write_bytes("é".encode()[1:] + b"ok\xff")
    assert read_log(tmp_path / "out.log", 100) == "\ufffdok\ufffd"


def capturing(tmp_path: Path, use: Callable[[Capture], object]) -> None:
    """Run `use` with a capture into `start.log`, on a loop."""

    async def run() -> None:
        capture = Capture(CappedLog(tmp_path / "start.log"))
        outcome = use(capture)
        if asyncio.iscoroutine(outcome):
            await outcome

    asyncio.run(run())


def test_what_a_dead_child_left_in_the_pipe_is_not_lost(tmp_path: Path) -> None:
    def use(capture: Capture) -> None:
        os.write(capture.write_end, b"last words")
        os.close(capture.write_end)
        capture.finish()
        capture.finish()

    capturing(tmp_path, use)
    assert read_log(tmp_path / "start.log", 100) == "last words"


def test_a_grandchild_that_keeps_the_pipe_open_does_not_keep_us_waiting(tmp_path: Path) -> None:
    def use(capture: Capture) -> None:
        os.write(capture.write_end, b"said")
        capture.finish()
        os.close(capture.write_end)

    capturing(tmp_path, use)
    assert read_log(tmp_path / "start.log", 100) == "said"


def test_whoever_prints_on_for_ever_does_not_keep_us_reading(tmp_path: Path) -> None:
    """As a process does that has left its session before its parent died."""

    def use(capture: Capture) -> None:
        with subprocess.Popen(["/usr/bin/yes"], stdout=capture.write_end) as endless:
            os.close(capture.write_end)
            capture.finish()
            endless.wait(10)  # nobody reads any more

    capturing(tmp_path, use)
    assert len(read_log(tmp_path / "start.log", 8 << 20)) <= 1 << 20


def test_output_goes_to_the_log_of_the_moment(tmp_path: Path) -> None:
    async def use(capture: Capture) -> None:
        os.write(capture.write_end, b"loading\n")
        await until(lambda: read_log(tmp_path / "start.log", 100) == "loading\n")
        capture.log = CappedLog(tmp_path / "run.log")
        os.write(capture.write_end, b"serving\n")
        await until(lambda: read_log(tmp_path / "run.log", 100) == "serving\n")
        os.close(capture.write_end)
        capture.finish()

    capturing(tmp_path, use)
    assert read_log(tmp_path / "start.log", 100) == "loading\n"
