"""The lock of a home: one holder, and nobody once the holder is gone."""

from pathlib import Path

import pytest

from penstock.runtime.lock import Locked, is_locked, lock


def test_a_lock_has_one_holder_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with lock(file):
        assert is_locked(file)
        with pytest.raises(Locked), lock(file):
            raise AssertionError("it was held twice")
        assert is_locked(file), "whoever was refused does not set it free"
    assert not is_locked(file)
    with lock(file):
        pass


def test_asking_leaves_no_file_behind(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
