"""Bodies for signatures of named columns.

What a row costs (Python 3.11, pandas 3.1, a 2-core VM with other work on it, best of many, in microseconds):

    columns                             read    array    frame    MLflow's own way
    8 doubles, dataframe_records         2.4      0.8      9        1400
    8 doubles, dataframe_split           3.4      0.8      9
    8 doubles, 100 rows                   80       22     30        2000
    10 of five types                      11        -     71        2300
    10 of five types, 100 rows           150        -    101        3200

Of the 71, pandas takes 38 for the column of datetimes and 13 for those of strings.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.flavors.compiled.columns import Column, Way
from penstock.flavors.compiled.envelope import opened
from penstock.flavors.compiled.formats import READERS
from penstock.flavors.compiled.layout import Layouts, Row
from penstock.flavors.compiled.ports import Input
from penstock.flavors.compiled.split_heads import SplitHeads

_UNLABELLED = type(None)
_NUL = b"\\u0000"
"""The only spelling in JSON of a character that NumPy drops from the end of a text."""


class TableReader:
    """Reads bodies into rows, and makes one DataFrame or matrix of the rows of several."""

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._layouts = Layouts(columns)
        self._heads = SplitHeads(self._layouts.full.names)
        self.matrix_dtype: np.dtype[Any] | None = self._layouts.full.matrix_dtype

    def read(self, body: bytes) -> Input | None:
        """See `InputReader`."""
        data = self._heads.rows(body)
        if data is not None:
            full = self._layouts.full
            taken = full.taken(data, Way.INFERRED)
            return None if taken is None else Input(len(taken[0]), taken[0], (full.mask, taken[1], _UNLABELLED))
        envelope = opened(body)
        if envelope is None:
            return None
        found = READERS[envelope.format](envelope.content, self._layouts)
        if found is None:
            return None
        layout, labels = found.layout, found.labels
        if envelope.format == "dataframe_split":
            self._heads.learn(body)
        if layout.has_texts and found.way is not Way.INFERRED and _NUL in body:
            return None
        taken = layout.taken(found.rows, found.way)
        if taken is None:
            return None
        rows, nulls = taken
        return Input(
            len(rows), rows, (layout.mask, nulls, type(labels and labels[0])), envelope.client_request_id, labels
        )

    def frame(self, inputs: Sequence[Input]) -> Any:
        """See `InputReader`."""
        mask, nulls, _ = inputs[0].shape_key
        labels = None
        if inputs[0].labels is not None:
            labels = [label for one in inputs for label in one.labels or ()]
        return self._layouts.by_mask(mask).frame(_joined(inputs), nulls, labels)

    def array(self, inputs: Sequence[Input]) -> NDArray[Any] | None:
        """See `InputReader`."""
        if self.matrix_dtype is None:
            return None
        mask = inputs[0].shape_key[0]
        return self._layouts.by_mask(mask).matrix(_joined(inputs))


def _joined(inputs: Sequence[Input]) -> list[Row]:
    if len(inputs) == 1:
        rows: list[Row] = inputs[0].values
        return rows
    return list(chain.from_iterable(one.values for one in inputs))
