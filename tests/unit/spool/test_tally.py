"""The tally counts exactly, on a full disk and from process to process, in a file that never grows."""

import os
from pathlib import Path

import pytest

from penstock.spool import tally as tally_module
from penstock.spool.tally import MAX_ENDPOINTS, NAME, Tally, not_logged

A, B = "a" * 32, "b" * 32


def opened(folder: Path) -> Tally:
    """A process's tally."""
    folder.mkdir(exist_ok=True)
    tally = Tally(folder)
    tally.open()
    return tally


def test_p5_1_what_a_process_counted_is_there_after_it_and_others_add_to_it(tmp_path: Path) -> None:
    first = opened(tmp_path / "gateway-0")
    first.add(A, 2)
    first.add(B, 1)
    first.add(A, 3)
    assert not_logged(tmp_path) == {A: 5, B: 1}, "though nobody has closed it"
    again = opened(tmp_path / "gateway-0")
    again.add(B, 10)
    opened(tmp_path / "gateway-1").add(A, 100)
    assert again.counts() == {A: 5, B: 11}
    assert not_logged(tmp_path) == {A: 105, B: 11}


def test_p5_1_what_was_counted_before_there_was_room_for_the_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "posix_fallocate", full)
        tally = opened(tmp_path)
        tally.add(A, 2)
        assert tally.counts() == {A: 2}
    tally.add(A, 1)
    tally.open()
    tally.add(A, 1)
    assert opened(tmp_path).counts() == {A: 4}


def test_p5_1_the_file_is_bounded_and_further_endpoints_count_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = opened(tmp_path)
    size = (tmp_path / NAME).stat().st_size
    for number in range(MAX_ENDPOINTS + 10):
        tally.add(f"{number:032d}", 1)
    counts = opened(tmp_path).counts()
    assert (len(counts), sum(counts.values())) == (MAX_ENDPOINTS, MAX_ENDPOINTS + 10)
    assert counts[""] == 11
    assert (tmp_path / NAME).stat().st_size == size
    assert tally_module.MAX_ENDPOINTS == MAX_ENDPOINTS


@pytest.mark.parametrize("content", [b"", b"something else", bytes(200_000)])
def test_p5_1_a_file_that_is_no_tally_counts_nothing_and_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "gateway-0"
    folder.mkdir()
    (folder / NAME).write_bytes(content)
    assert not_logged(tmp_path) == {}
    opened(folder).add(A, 1)
    assert not_logged(tmp_path) == {A: 1}
