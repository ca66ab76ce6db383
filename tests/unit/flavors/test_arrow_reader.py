"""Tables become what MLflow makes of the DataFrame that pandas makes of them, to the bit and in memory; or nothing."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.models.utils import _enforce_schema
from mlflow.types import ColSpec, DataType, Schema

from penstock.flavors.compiled.arrow import ArrowReader, compile_arrow


def reader(*types: str) -> tuple[ArrowReader, Schema]:
    schema = Schema([ColSpec(DataType[kind], name) for kind, name in zip(types, "abcdef", strict=False)])
    made = compile_arrow(Model(signature=ModelSignature(inputs=schema)))
    assert made is not None
    return made, schema


@pytest.mark.parametrize(
    ("types", "columns"),
    [
        (("double", "double"), ([1.5, None, -0.0], [float("nan"), float("inf"), 2.0])),
        (("double",), (pa.array([1.5, 2.5], pa.float32()),)),
        (("double", "double"), (pa.array([1, 2], pa.int32()), pa.array([1, 2], pa.int8()))),
        (("float", "float"), (pa.array([0.1, None], pa.float32()), pa.array([1.0, 2.0], pa.float32()))),
        (("long", "long"), ([2**62, -5], pa.array([1, 2], pa.int16()))),
        (("double", "long", "integer"), ([1.5, 2.5], [2**53 + 1, 7], pa.array([1, 2], pa.int32()))),
    ],
)
def test_what_is_taken_is_what_mlflow_makes_of_it(types: tuple[str, ...], columns: tuple[object, ...]) -> None:
    ours, schema = reader(*types)
    table = pa.table(dict(zip("abcdef", columns, strict=False)))
    table = pa.concat_tables([table.slice(0, 1), table.slice(1)])  # columns of several chunks
    given = ours.take(table)
    assert given is not None
    theirs = _enforce_schema(table.to_pandas(), schema)
    pd.testing.assert_frame_equal(ours.frame((given,)), theirs, check_exact=True)
    matrix, expected = ours.array((given,)), theirs.to_numpy()
    assert matrix is not None
    assert (matrix.dtype, matrix.strides) == (expected.dtype, expected.strides)
    assert matrix.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("types", "columns"),
    [
        (("double",), ([1, 2],)),  # a 64-bit integer may be no double
        (("double",), (["1.5"],)),
        (("float",), ([1.5],)),
        (("long",), ([1, None],)),
        (("long",), ([1.0],)),
        (("integer",), ([1],)),
        (("double", "double"), ([1.5],)),
        (("double",), ([],)),
        (("double",), ([True],)),
    ],
)
def test_anything_else_is_left_to_mlflow(types: tuple[str, ...], columns: tuple[object, ...]) -> None:
    ours, _ = reader(*types)
    assert ours.take(pa.table(dict(zip("abcdef", columns, strict=False)))) is None


def test_only_signatures_of_named_numbers_are_compiled() -> None:
    for spec in (ColSpec(DataType.string, "a"), ColSpec(DataType.double), ColSpec(DataType.boolean, "a")):
        assert compile_arrow(Model(signature=ModelSignature(inputs=Schema([spec])))) is None
    assert compile_arrow(Model()) is None
    assert np.dtype(np.float64) == reader("double")[0].matrix_dtype
