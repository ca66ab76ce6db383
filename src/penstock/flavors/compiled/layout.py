"""The columns that a body brings, and how a DataFrame of just these is made without asking pandas what they are.

MLflow's frame, after schema enforcement, holds all columns of one type in one block, in which a column's values lie
side by side. Ours has the same blocks, so that what `to_numpy` gives, and with it what BLAS makes of it, is the same.
"""

from collections.abc import Callable, Sequence, Set
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from penstock.flavors.compiled.columns import HAS_STRINGS, TEXT, Column, Way
from penstock.flavors.compiled.datetimes import nanoseconds

try:  # 10 us for five columns of three types, where pd.DataFrame(dict of arrays) takes 120
    from pandas.api.internals import create_dataframe_from_blocks
except ImportError:  # pandas 2
    create_dataframe_from_blocks = None

_MAX_LAYOUTS = 64
_OBJECT = np.dtype(object)
_DATETIME = np.dtype("datetime64[ns]")
_KEEPS_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float64))

Row = Sequence[Any]
Labels = Sequence[int | str]
"""Of rows: all numbers, or all strings."""


def getter(keys: Sequence[Any]) -> Callable[[Any], Row]:
    """`itemgetter` that gives a tuple for a single key too."""
    if len(keys) == 1:
        (key,) = keys
        return lambda item: (item[key],)
    return itemgetter(*keys)


class Layout:
    """Some of a signature's columns, in its order."""

    def __init__(self, columns: tuple[Column, ...], mask: int) -> None:
        self.columns = columns
        self.mask = mask
        """Which columns of the signature these are, a bit each."""
        self.names = [column.name for column in columns]
        self.pick = getter(self.names)
        """The values of an object's members of these names; raises KeyError or TypeError."""
        dtypes = [column.type.dtype for column in columns]
        self.dtype = dtypes[0] if len({*dtypes}) == 1 and dtypes[0].kind not in "OM" else None
        """Of all columns, if they are of one type that is a number or a truth value."""
        self.matrix_dtype = self.dtype
        """Of `DataFrame.to_numpy`, where `np.array(rows, dtype)` gives the same values."""
        if self.dtype is None and all(dtype in _KEEPS_INTEGERS for dtype in dtypes):
            self.matrix_dtype = np.result_type(*dtypes)
        self._accepts = columns[0].type.accepts
        self._index = pd.Index(self.names)
        self._everywhere = np.arange(len(columns))
        self._texts = [at for at, dtype in enumerate(dtypes) if dtype == _OBJECT]
        self._datetimes = [at for at, dtype in enumerate(dtypes) if dtype == _DATETIME]
        self.has_texts = bool(self._texts)
        self._blocks = [
            (dtype, np.array([at for at, other in enumerate(dtypes) if other == dtype]))
            for dtype in dict.fromkeys(dtypes)
            if dtype != _OBJECT
        ]

    def taken(self, rows: list[Row], way: Way) -> tuple[list[Row], int] | None:
        """Rows whose values all fit, and which columns of strings hold nothing but null, a bit each.

        None if a value does not fit. Datetimes have become nanoseconds.
        """
        if self.dtype is not None:
            values = rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))
            return (rows, 0) if self._accepts(values) else None
        if way is Way.BOXED and self._texts and not HAS_STRINGS:
            return None  # they would stay NumPy's strings
        columns: list[Row] = list(zip(*rows, strict=True))
        if not all(column.type.accepts(values) for column, values in zip(self.columns, columns, strict=True)):
            return None
        nulls, is_changed = 0, bool(self._datetimes)
        for at in self._texts:
            if None not in columns[at]:
                continue
            if way is not Way.INFERRED:
                columns[at], is_changed = tuple(map(str, columns[at])), True  # NumPy makes the text 'None' of null
            elif columns[at].count(None) == len(rows):
                nulls |= 1 << at
        for at in self._datetimes:
            # NumPy reads each for itself; pandas takes the form of the first for all.
            numbers = nanoseconds(columns[at], is_uniform=way is Way.INFERRED)
            if numbers is None:
                return None
            columns[at] = numbers
        return list(zip(*columns, strict=True)) if is_changed else rows, nulls

    def matrix(self, rows: list[Row]) -> NDArray[Any]:
        """All values in one array, laid out as `DataFrame.to_numpy` of the frame lays them out."""
        return np.array(rows, self.matrix_dtype, order="F")

    def frame(self, rows: list[Row], nulls: int, labels: Labels | None) -> Any:
        """A DataFrame of these columns."""
        index = pd.RangeIndex(len(rows)) if labels is None else _index(labels)
        if self.dtype is not None:
            blocks: list[Any] = [(np.array(rows, self.dtype, order="F").T, self._everywhere)]
        else:
            blocks = self._mixed(list(zip(*rows, strict=True)), nulls)
        if create_dataframe_from_blocks is None:
            return self._by_names(blocks, index)
        # A view, because a model may give the columns' index a name.
        return create_dataframe_from_blocks(blocks, index, self._index.view())

    def _mixed(self, columns: list[Row], nulls: int) -> list[Any]:
        blocks: list[Any] = []
        for dtype, places in self._blocks:
            values = [columns[at] for at in places]
            block = np.array(values, np.int64).view(dtype) if dtype == _DATETIME else np.array(values, dtype)
            blocks.append((block, places))
        objects = [at for at in self._texts if not HAS_STRINGS or nulls >> at & 1]
        if objects:
            block = np.empty((len(objects), len(columns[0])), _OBJECT)
            for at, place in enumerate(objects):
                block[at] = columns[place]
            blocks.append((block, np.array(objects)))
        texts = [at for at in self._texts if at not in objects]
        if texts:
            # One conversion for all columns: it takes 13 us, a slice of it 1.
            array = pd.array(list(chain.from_iterable(columns[at] for at in texts)), dtype=TEXT)
            size = len(columns[0])
            blocks += [(array[i * size : (i + 1) * size], np.array([at])) for i, at in enumerate(texts)]
        return blocks

    def _by_names(self, blocks: list[Any], index: Any) -> Any:
        arrays: dict[int, Any] = {}
        for block, places in blocks:
            arrays.update(zip(places, block if isinstance(block, np.ndarray) else [block], strict=True))
        return pd.DataFrame({name: arrays[at] for at, name in enumerate(self.names)}, index=index)


def _index(labels: Labels) -> Any:
    return pd.Index(np.array(labels, np.int64) if type(labels[0]) is int else labels)


class Layouts:
    """The layouts of a signature: of all its columns, and without some that may be left out."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.names = {column.name: 1 << at for at, column in enumerate(columns)}
        self._columns = columns
        self._required = sum(self.names[column.name] for column in columns if column.is_required)
        self.full = Layout(columns, (1 << len(columns)) - 1)
        self._known = {self.full.mask: self.full}

    def of(self, names: Set[str]) -> Layout | None:
        """The layout for a body with these names and others; None if a required one is missing, or all are."""
        if names == self.names.keys():
            return self.full
        mask = sum(self.names.get(name, 0) for name in names)
        if not mask or mask & self._required != self._required:
            return None
        return self.by_mask(mask)

    def by_mask(self, mask: int) -> Layout:
        """The layout of just these columns."""
        layout = self._known.get(mask)
        if layout is None:
            layout = Layout(tuple(column for at, column in enumerate(self._columns) if mask >> at & 1), mask)
            if len(self._known) < _MAX_LAYOUTS:
                self._known[mask] = layout
        return layout
