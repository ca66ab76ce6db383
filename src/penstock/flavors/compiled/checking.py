"""A compiled input put to the proof where it is to be used: in the model's own environment.

The fuzz compares with the versions of MLflow, pandas and NumPy that Penstock is tested with. A model may bring others,
whose conversions differ. So some bodies are read both ways before anything is served by the compiled way alone.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import Model
from mlflow.pyfunc import _validate_prediction_input, scoring_server
from mlflow.types import TensorSpec

from penstock.flavors.compiled.ports import InputReader

_MAX_BYTES = 256 << 10
"""Of all bodies, for signatures of a thousand columns or of images: MLflow takes 0.1 ms for each column of a body."""
_VALUES: dict[str, list[Any]] = {
    "double": [-1.5, 3, None],
    "float": [0.1, 3, None],
    "long": [-5, 2**53 + 1, 7],
    "integer": [-5, 7, 2**31 - 1],
    "boolean": [True, False, None],
    "string": ["é", "2020-01-01", None],
    "datetime": ["2020-02-29T10:11:12.123456", "1969-12-31T23:59:59.000000", None],
}


def first_difference(metadata: Model, reader: InputReader) -> str | None:
    """What the compiled input makes of a body that MLflow makes something else of, in words; None if nothing is found.

    It costs some 2 ms a body on account of MLflow, and there are at most 20. Bodies that the reader does not take
    prove nothing and cost nothing.
    """
    size = 0
    for document in _documents(metadata.get_input_schema()):
        body = json.dumps(document).encode()
        size += len(body)
        if size > _MAX_BYTES:
            return None
        ours = reader.read(body)
        if ours is None:
            continue
        try:
            theirs = _by_mlflow(metadata, body)
        except Exception as exc:  # noqa: BLE001 - whatever this version of MLflow raises, it takes no such body
            return f"MLflow refuses {body.decode()}: {type(exc).__name__}: {exc}"
        if not _is_same(reader.frame([ours]), theirs):
            return f"{body.decode()} becomes {reader.frame([ours])!r} and not {theirs!r}"
    return None


def _by_mlflow(metadata: Model, body: bytes) -> Any:
    schema = metadata.get_input_schema()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # of columns that the signature does not know
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = scoring_server._parse_json_data(body, metadata, schema)
            return _validate_prediction_input(parsed.data, None, schema, None)[0]
    finally:
        logging.disable(before)


def _documents(schema: Any) -> Iterator[dict[str, Any]]:
    if schema.is_tensor_spec():
        yield from _tensors(schema.inputs)
        return
    columns = {spec.name: _VALUES[spec.type.name] for spec in schema.inputs}
    required = {spec.name: _VALUES[spec.type.name] for spec in schema.inputs if spec.required}
    for size in (1, 3):
        yield from _tables({name: values[:size] for name, values in columns.items()})
    yield from _tables({name: values[:2] for name, values in {**required, "not in the signature": [1, "x"]}.items()})
    yield from _tables({name: values[2:] for name, values in columns.items()})


def _tables(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    rows = list(zip(*columns.values(), strict=True))
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    yield {"dataframe_records": records}
    yield {"dataframe_split": {"columns": list(columns), "index": list(range(len(rows))), "data": rows}}
    yield {"instances": records}
    yield {"inputs": records}
    yield {"inputs": columns}


def _tensors(specs: list[TensorSpec]) -> Iterator[dict[str, Any]]:
    shapes = {spec.name: [2 if size == -1 else size for size in spec.shape] for spec in specs}
    if sum(map(prod, shapes.values())) > _MAX_BYTES:
        return
    arrays = {name: np.ones(shape).tolist() for name, shape in shapes.items()}
    if specs[0].name is not None:
        yield {"inputs": arrays}
        return
    (array,) = arrays.values()
    yield {"inputs": array}
    yield {"instances": array}
    if len(specs[0].shape) == 2:  # noqa: PLR2004
        yield {"dataframe_split": {"columns": [str(at) for at in range(len(array[0]))], "data": array}}


def _is_same(ours: Any, theirs: Any) -> bool:
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(_is_same(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, np.ndarray):
        return (ours.dtype, ours.shape, ours.strides) == (theirs.dtype, theirs.shape, theirs.strides) and (
            ours.tobytes() == theirs.tobytes()
        )
    try:
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_index_type="exact")
    except AssertionError:
        return False
    ours, theirs = ours.to_numpy(), theirs.to_numpy()
    return bool(ours.strides == theirs.strides) and list(map(type, ours.flat)) == list(map(type, theirs.flat))
