"""Whether two inputs of a model are the same in all that a model could see."""

from typing import Any

import numpy as np
import pandas as pd


def difference(ours: Any, theirs: Any) -> str | None:
    """What differs, in words; None if nothing does."""
    if type(ours) is not type(theirs):
        return f"{type(ours)} for {type(theirs)}"
    if isinstance(ours, dict):
        if list(ours) != list(theirs):
            return f"keys {list(ours)} for {list(theirs)}"
        return next((f"{k}: {d}" for k in ours if (d := difference(ours[k], theirs[k]))), None)
    if isinstance(ours, np.ndarray):
        return array_difference(ours, theirs)
    assert isinstance(ours, pd.DataFrame)
    return _frame_difference(ours, theirs)


def array_difference(ours: np.ndarray, theirs: np.ndarray) -> str | None:
    for what in ("dtype", "shape", "strides"):
        if getattr(ours, what) != getattr(theirs, what):
            return f"{what} {getattr(ours, what)} for {getattr(theirs, what)}"
    if ours.dtype.kind == "O":
        return None if [*map(_exact, ours.flat)] == [*map(_exact, theirs.flat)] else f"values {ours} for {theirs}"
    return None if ours.tobytes() == theirs.tobytes() else f"values {ours.tolist()} for {theirs.tolist()}"


def _frame_difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> str | None:
    try:
        pd.testing.assert_frame_equal(
            ours, theirs, check_exact=True, check_index_type="exact", check_column_type="exact", check_freq=True
        )
    except AssertionError as exc:
        return str(exc)
    for column in ours.columns:
        mine, other = ours[column], theirs[column]
        if mine.dtype.kind in "OT" or not isinstance(mine.dtype, np.dtype):
            if [*map(_exact, mine)] != [*map(_exact, other)]:
                return f"column {column!r}: {list(mine)} for {list(other)}"
        elif mine.to_numpy().tobytes() != other.to_numpy().tobytes():
            return f"column {column!r}: bytes of {list(mine)} for {list(other)}"
    if _blocks(ours) != _blocks(theirs):
        return f"blocks {_blocks(ours)} for {_blocks(theirs)}"
    return array_difference(ours.to_numpy(), theirs.to_numpy())


def _exact(value: Any) -> tuple[type, str]:
    return type(value), repr(value)


def _blocks(frame: pd.DataFrame) -> set[Any]:
    """Which columns lie together in memory, and how."""
    return {
        (str(block.dtype), tuple(block.mgr_locs), getattr(block.values, "strides", None)) for block in frame._mgr.blocks
    }
