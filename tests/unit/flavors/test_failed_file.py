"""The file that a loader was reading when it failed."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.flavors.failed_file import failed_file


def load_pickle(file: Path) -> None:
    with file.open("rb") as opened:
        pickle.load(opened)


def load_by_path(file: Path) -> None:
    path = str(file)
    raise ValueError(f"not a model of ours, after {len(path)} characters")


def load_without_a_word(_: Path) -> None:
    raise ValueError("something else")


def raised_by(load: Callable[[Path], None], file: Path) -> Exception:
    try:
        load(file)
    except Exception as exc:  # noqa: BLE001
        return exc
    raise AssertionError("it loads")


@pytest.mark.parametrize("load", [load_pickle, load_by_path])
def test_the_file_at_hand_is_named_below_its_folder(tmp_path: Path, load: Callable[[Path], None]) -> None:
    file = tmp_path / "data" / "model.pkl"
    file.parent.mkdir()
    file.write_bytes(pickle.dumps(list(range(100)))[:50])
    error = raised_by(load, file)
    assert failed_file(error, tmp_path) == "data/model.pkl"
    assert failed_file(error, tmp_path / "data") == "model.pkl"
    assert failed_file(error, tmp_path / "elsewhere") is None


def test_an_error_that_has_to_do_with_no_file_names_none(tmp_path: Path) -> None:
    assert failed_file(raised_by(load_without_a_word, Path("nowhere")), tmp_path) is None
    assert failed_file(ValueError("never raised"), tmp_path) is None
