"""The types that a column may have, and which JSON values each takes.

What is taken is what MLflow takes and means the same by; what else it takes is left to it: numbers in strings, 1.5 for
a long, null for a boolean that another row leaves out, and the like.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto
from math import copysign
from types import NoneType
from typing import Any

import numpy as np
import pandas as pd

_FLOATS_OR_NULL = frozenset({float, NoneType})
_NUMBERS_OR_NULL = frozenset({float, int, NoneType})
_NUMBERS = frozenset({float, int})
_INTS = frozenset({int})
_BOOLEANS_OR_NULL = frozenset({bool, NoneType})
_TEXTS_OR_NULL = frozenset({str, NoneType})

SCALARS = frozenset({str, int, float, bool, NoneType})

_DOUBLE_BITS = 1000
"""Integers of more bits may be too large for a double."""
_EXACT = 1 << 53
"""Up to here an integer becomes a 32-bit float by one rounding, whether or not it is a double on the way."""
_MAX_FLOAT = float(np.finfo(np.float32).max)


TEXT = pd.Series(["a"]).dtype
"""What pandas makes of strings."""
HAS_STRINGS = np.dtype(np.object_) != TEXT
"""Whether that is a type of their own, as since pandas 3. In a column of objects a gap is another object than null."""


class Way(Enum):
    """How MLflow makes columns of a format; it decides what null and small types become."""

    INFERRED = auto()
    """`dataframe_records`, `dataframe_split`: pandas finds a type, which is then cast."""
    ARRAYS = auto()
    """`instances`, and `inputs` of lists: NumPy arrays of the column's own type."""
    BOXED = auto()
    """`inputs` of records or of single values: NumPy scalars, of which pandas finds a type; it must be the column's."""


def _is_double(values: Collection[Any]) -> bool:
    types = set(map(type, values))
    if types <= _FLOATS_OR_NULL:
        return True
    return types <= _NUMBERS_OR_NULL and all(type(v) is not int or v.bit_length() <= _DOUBLE_BITS for v in values)


def _is_float(values: Collection[Any]) -> bool:
    if not _NUMBERS_OR_NULL.issuperset(map(type, values)):
        return False
    return all(
        v is None or (-_EXACT <= v <= _EXACT if type(v) is int else -_MAX_FLOAT <= v <= _MAX_FLOAT) for v in values
    )


def _is_long(values: Collection[Any]) -> bool:
    return _are_integers(values, 1 << 63)


def _is_integer(values: Collection[Any]) -> bool:
    return _are_integers(values, 1 << 31)


def _are_integers(values: Collection[Any], bound: int) -> bool:
    types = set(map(type, values))
    if types <= _INTS:
        return bool(min(values) >= -bound and max(values) < bound)
    if not types <= _NUMBERS:
        return False
    # pandas makes doubles of all of them first. Of -0.0 a double would be left where an integer becomes 0.
    bound = min(bound, _EXACT)
    return all(-bound <= v < bound and v == int(v) and (v != 0 or copysign(1, v) > 0) for v in values)


def _is_boolean(values: Collection[Any]) -> bool:
    types = set(map(type, values))
    return types <= _BOOLEANS_OR_NULL or (types == _INTS and {*values} <= {0, 1})


def _is_text(values: Collection[Any]) -> bool:
    return _TEXTS_OR_NULL.issuperset(map(type, values))


@dataclass(frozen=True, slots=True)
class ColumnType:
    """What a column's values may be, and become."""

    dtype: np.dtype[Any]
    """Of NumPy; `object` for strings, of which newer versions of pandas make a type of their own."""
    accepts: Callable[[Collection[Any]], bool]
    """Whether all of some values are taken."""
    may_miss: bool
    """Whether a record may leave out what others have, as if it had null."""


TYPES = {
    "double": ColumnType(np.dtype(np.float64), _is_double, may_miss=True),
    "float": ColumnType(np.dtype(np.float32), _is_float, may_miss=True),
    "long": ColumnType(np.dtype(np.int64), _is_long, may_miss=False),
    "integer": ColumnType(np.dtype(np.int32), _is_integer, may_miss=False),
    "boolean": ColumnType(np.dtype(np.bool_), _is_boolean, may_miss=False),
    "string": ColumnType(np.dtype(np.object_), _is_text, may_miss=HAS_STRINGS),
    "datetime": ColumnType(np.dtype("datetime64[ns]"), _is_text, may_miss=True),
}
"""By MLflow's name. Binary columns, arrays, objects and maps are MLflow's own affair."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a signature."""

    name: str
    type: ColumnType
    is_required: bool
