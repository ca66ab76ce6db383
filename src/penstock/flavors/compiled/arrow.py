"""Tables of Arrow as the input of a model whose columns are all numbers, without a DataFrame where none is needed.

The rule is that of the compiled input: only what is positively recognised is taken. A column has the signature's type,
or one that MLflow's schema enforcement widens to it; integers have no nulls, of numbers with a fraction null is NaN, as
pandas has it. Everything else goes to MLflow's own `predict` as a DataFrame.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models import Model
from numpy.typing import NDArray

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import Input, InputReader

_DTYPES: dict[str, "np.dtype[Any]"] = {
    "double": np.dtype(np.float64),
    "float": np.dtype(np.float32),
    "long": np.dtype(np.int64),
    "integer": np.dtype(np.int32),
}
_EXACT_BYTES = 4
"""Integers of so many bytes are doubles without rounding."""


class ArrowReader:
    """An `InputReader` that takes tables too."""

    def __init__(self, reader: InputReader, columns: dict[str, "np.dtype[Any]"]) -> None:
        self._reader = reader
        self._columns = columns
        self.read = reader.read
        self.matrix_dtype = reader.matrix_dtype
        dtypes = set(columns.values())
        self._dtype = dtypes.pop() if len(dtypes) == 1 else None
        """Of all columns, if they are of one type."""

    def take(self, table: pa.Table) -> Input | None:
        """A table whose columns are the signature's, or None: hand it to MLflow."""
        if table.num_rows == 0 or table.column_names != list(self._columns):
            return None
        if not all(map(_fits, table.columns, self._columns.values())):
            return None
        return Input(table.num_rows, table, ArrowReader)

    def frame(self, inputs: Sequence[Input]) -> Any:
        """See `InputReader`."""
        table = inputs[0].values
        if not isinstance(table, pa.Table):
            return self._reader.frame(inputs)
        if self._dtype is not None:
            return pd.DataFrame(_matrix(table, self._dtype), columns=table.column_names, copy=False)
        columns = zip(table.column_names, table.columns, self._columns.values(), strict=True)
        return pd.DataFrame({name: _filled(np.empty(len(column), dtype), column) for name, column, dtype in columns})

    def array(self, inputs: Sequence[Input]) -> NDArray[Any] | None:
        """See `InputReader`."""
        table = inputs[0].values
        if not isinstance(table, pa.Table) or self.matrix_dtype is None:
            return self._reader.array(inputs)
        return _matrix(table, self.matrix_dtype)


def compile_arrow(metadata: Model) -> ArrowReader | None:
    """A reader of tables for a model; None if its signature is none of named columns that are all numbers."""
    reader, schema = compile_input(metadata), metadata.get_input_schema()
    if reader is None or reader.matrix_dtype is None or schema.is_tensor_spec():
        return None
    known = {str(spec.name): _DTYPES[spec.type.name] for spec in schema.inputs if spec.type.name in _DTYPES}
    return ArrowReader(reader, known) if len(known) == len(schema.inputs) else None


def _fits(column: pa.ChunkedArray, wanted: "np.dtype[Any]") -> bool:
    if not (pa.types.is_integer(column.type) or pa.types.is_float32(column.type) or pa.types.is_float64(column.type)):
        return False
    found = np.dtype(column.type.to_pandas_dtype())
    if found.kind == "f":
        return bool(wanted.kind == "f" and found.itemsize <= wanted.itemsize)
    if column.null_count:
        return False
    if wanted == np.float64:
        return bool(found.itemsize <= _EXACT_BYTES)
    return bool(found.kind == wanted.kind and found.itemsize <= wanted.itemsize)


def _matrix(table: pa.Table, dtype: "np.dtype[Any]") -> NDArray[Any]:
    """All values in one array, a column's side by side: as `DataFrame.to_numpy` of the frame lays them out."""
    values = np.empty((table.num_columns, table.num_rows), dtype)
    for place, column in zip(values, table.columns, strict=True):
        _filled(place, column)
    return values.T


def _filled(place: NDArray[Any], column: pa.ChunkedArray) -> NDArray[Any]:
    at = 0
    for chunk in column.chunks:
        place[at : at + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        at += len(chunk)
    return place
