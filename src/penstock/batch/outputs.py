"""What models give back as one column of Arrow: a value a row, a list, or a struct of several outputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from penstock.flavors.outputs import Records, row_count


class NotByRow(ValueError):
    """An output that has not one element for each row."""


def column_of(output: Any, rows: int) -> pa.Array:
    """An output of a model as a column of so many rows.

    A table of one column, or a dict of one array, is that column; one of several is a struct. A matrix is a column of
    lists.

    Raises:
        NotByRow: it has not one element for each row.
        pyarrow.ArrowException, TypeError, ValueError: its values are of no type, or of several, that Arrow knows.
    """
    count = row_count(output)
    if count != rows:
        told = f"{count} rows" if count is not None else f"a {type(output).__name__} that has no rows"
        raise NotByRow(f"the model was given {rows} rows and gave {told}")
    match output:
        case Records():
            return _struct(dict(zip(output.names, output.values, strict=True)))
        case pd.DataFrame():
            return _struct({str(name): output[name] for name in output.columns})
        case dict():
            return _struct({str(name): values for name, values in output.items()})
        case _:
            return _column(output)


def _struct(columns: Mapping[str, Any]) -> pa.Array:
    arrays = [_column(values) for values in columns.values()]
    return arrays[0] if len(arrays) == 1 else pa.StructArray.from_arrays(arrays, list(columns))


def _column(values: Any) -> pa.Array:
    if isinstance(values, np.ndarray):
        return _array(values)
    if isinstance(values, pd.Series):
        array = pa.Array.from_pandas(values)
        return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return pa.array(values)


def _array(values: np.ndarray[Any, Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values.tolist()) if values.dtype.kind in "OUS" else pa.array(np.ascontiguousarray(values))
    inner = _array(values.reshape(-1, *values.shape[2:]))
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(values.shape[1])
    return pa.ListArray.from_arrays(offsets, inner)
