"""Whether two outputs are the same to the last bit, and how far apart they are if not."""

import math
from typing import Any

import numpy as np
import pandas as pd

from penstock.flavors.outputs import Records

NEVER = math.inf
"""How far apart outputs are that differ in more than a number: in a label, a type, a shape."""


def is_same(left: Any, right: Any) -> bool:
    """Whether container, shape, types and every bit of two outputs agree."""
    left, right = _plain(left), _plain(right)
    if type(left) is not type(right):
        return False
    match left:
        case np.ndarray():
            return left.dtype == right.dtype and left.shape == right.shape and _same_values(left, right)
        case pd.DataFrame():
            return (
                left.columns.equals(right.columns)
                and len(left) == len(right)
                and all(is_same(left[name], right[name]) for name in left.columns)
            )
        case pd.Series():
            return left.dtype == right.dtype and is_same(left.to_numpy(), right.to_numpy())
        case dict():
            return list(left) == list(right) and all(is_same(left[name], right[name]) for name in left)
        case list() | tuple():
            return len(left) == len(right) and all(map(is_same, left, right))
        case float():
            return bool(left.hex() == right.hex())
        case _:
            return bool(left == right)


def deviation(left: Any, right: Any) -> float:
    """The largest `|left - right| / max(1, |right|)`; infinite where labels, types or shapes differ."""
    left, right = _plain(left), _plain(right)
    if is_same(left, right):
        return 0.0
    if type(left) is not type(right):
        return NEVER
    match left:
        case np.ndarray():
            return _distance(left, right)
        case pd.DataFrame() if left.columns.equals(right.columns) and len(left) == len(right):
            return max(deviation(left[name].to_numpy(), right[name].to_numpy()) for name in left.columns)
        case pd.Series():
            return deviation(left.to_numpy(), right.to_numpy())
        case dict() if list(left) == list(right):
            return max(deviation(left[name], right[name]) for name in left)
        case list() if len(left) == len(right):
            return max(map(deviation, left, right))
        case float():
            return _distance(np.asarray(left), np.asarray(right))
        case _:
            return NEVER


def _plain(output: Any) -> Any:
    return output.frame() if isinstance(output, Records) else output


def _same_values(left: Any, right: Any) -> bool:
    if left.dtype.hasobject:
        return all(map(is_same, left.ravel().tolist(), right.ravel().tolist()))
    return bool(left.tobytes() == right.tobytes())


def _distance(left: Any, right: Any) -> float:
    if left.dtype != right.dtype or left.shape != right.shape or left.dtype.kind != "f":
        return NEVER
    with np.errstate(all="ignore"):
        apart = np.abs(left - right) / np.maximum(1, np.abs(right))
    # Equal infinities and NaN beside NaN are no distance; whatever else is not a number is.
    agree = (left == right) | (np.isnan(left) & np.isnan(right))
    apart = np.where(agree, 0, apart)
    return NEVER if np.isnan(apart).any() else float(apart.max(initial=0.0))
