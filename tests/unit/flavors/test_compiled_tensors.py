"""The compiled input for signatures of tensors, with cases made by hand."""

import json
from typing import Any

import numpy as np
import pytest
from mlflow.types import TensorSpec

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import InputReader
from support.compiled.oracle import Oracle
from support.compiled.sameness import array_difference, difference

MATRIX = TensorSpec(np.dtype("float64"), (-1, 2))
FLOATS = TensorSpec(np.dtype("float32"), (-1, 2, 2))
INTS = TensorSpec(np.dtype("int64"), (-1,))
FREE = TensorSpec(np.dtype("float64"), (-1, -1))
COLUMN = TensorSpec(np.dtype("float64"), (-1, 1))
FIXED = TensorSpec(np.dtype("int32"), (2, 2))
BYTES = TensorSpec(np.dtype("uint8"), (-1, 2))
TRUTHS = TensorSpec(np.dtype("bool"), (-1, 2))
PAIR = (TensorSpec(np.dtype("float64"), (-1, 2), "x"), TensorSpec(np.dtype("int64"), (-1,), "n"))
ONE = (TensorSpec(np.dtype("float32"), (-1, 2), "x"),)
Specs = tuple[TensorSpec, ...]

TAKEN: list[tuple[Specs, Any]] = [
    *(((MATRIX,), {key: [[1, 2.5], [None, -0.0]]}) for key in ("inputs", "instances")),
    ((MATRIX,), {"inputs": [["1.5", True]], "client_request_id": "me"}),
    ((MATRIX,), {"inputs": [[10**30, 2**63]]}),
    ((MATRIX,), {"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2.5], [None, 4]]}}),
    ((MATRIX,), {"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2.5]], "index": [3]}}),
    ((MATRIX,), {"dataframe_records": [{"b": 1, "a": 2.5}, {"a": 4, "b": 3}]}),
    ((COLUMN,), {"dataframe_records": [{"a": 1}, {"a": None}]}),
    ((COLUMN,), {"dataframe_split": {"columns": ["a"], "data": [[1.5]]}}),
    ((FLOATS,), {"inputs": [[[1, 2], [3, 4.1]]]}),
    ((INTS,), {"instances": [1, 2**62, 3]}),
    ((FREE,), {"inputs": [[1, 2, 3], [4, 5, 6]]}),
    ((FREE,), {"inputs": [[]]}),
    ((FIXED,), {"inputs": [[1, 2], [3, 4]]}),
    ((BYTES,), {"inputs": [[0, 255]]}),
    ((TRUTHS,), {"inputs": [[True, 0]]}),
    (PAIR, {"inputs": {"n": [1, 2, 3], "x": [[1, 2]]}}),
    (PAIR, {"inputs": {"x": [[1, 2], [3, 4]], "n": [1, 2]}}),
    (PAIR, {"instances": {"x": [[1, 2], [3, 4]], "n": [1, 2]}}),
    (PAIR, {"instances": [{"x": [1, 2], "n": 1}, {"n": 2, "x": [3, None]}]}),
    (ONE, {"inputs": [[1, 2], [3, 4]]}),
    (ONE, {"instances": [[1, 2], [3, 4]]}),
    (ONE, {"inputs": {"x": [[1, 2]]}}),
]
LEFT: list[tuple[Specs, Any]] = [
    ((MATRIX,), {"inputs": [[1, 2, 3]]}),
    ((MATRIX,), {"inputs": [1, 2]}),
    ((MATRIX,), {"inputs": [[1, 2], [3]]}),
    ((MATRIX,), {"inputs": []}),
    ((MATRIX,), {"inputs": 5}),
    ((MATRIX,), {"inputs": {"x": [[1, 2]]}}),
    ((MATRIX,), {"inputs": [{"x": 1}]}),
    ((MATRIX,), {"inputs": [["a", 1]]}),
    ((MATRIX,), {"inputs": [[10**400, 1]]}),
    ((MATRIX,), {"inputs": [[1, 2]], "params": {}}),
    ((MATRIX,), {"dataframe_split": {"columns": ["a", "b"], "data": [["1", 2]]}}),
    ((MATRIX,), {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}),
    ((MATRIX,), {"dataframe_split": {"columns": ["a"], "data": [[1]]}}),
    ((COLUMN,), {"dataframe_split": {"columns": ["a"], "data": [[1]], "index": [0]}}),
    ((MATRIX,), {"dataframe_records": [{"a": 1, "b": 2}, {"a": 1}]}),
    ((MATRIX,), {"dataframe_records": [{}]}),
    ((INTS,), {"inputs": [2**63]}),
    ((INTS,), {"inputs": [None]}),
    ((FIXED,), {"inputs": [[1, 2]]}),
    ((FREE,), {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}),
    ((BYTES,), {"inputs": [[0, 256]]}),
    (PAIR, {"inputs": {"x": [[1, 2]]}}),
    (PAIR, {"inputs": {"x": [[1, 2]], "n": [1], "z": [1]}}),
    (PAIR, {"inputs": {"x": [[1, 2]], "n": 1}}),
    (PAIR, {"instances": {"x": [[1, 2]], "n": [1, 2]}}),
    (PAIR, {"instances": [{"x": [1, 2], "n": 1}, {"x": [3, 4]}]}),
    (PAIR, {"inputs": [{"x": [1, 2], "n": 1}]}),
    (PAIR, {"instances": [{"x": [1, 2], "n": 1}, 5]}),
    (PAIR, {"instances": {"x": 1, "n": 1}}),
    (PAIR, {"dataframe_split": {"columns": ["x", "n"], "data": [[[1, 2], 1]]}}),
]


def compiled(specs: Specs) -> tuple[Oracle, InputReader]:
    oracle = Oracle(specs)
    reader = compile_input(oracle.metadata)
    assert reader is not None
    return oracle, reader


@pytest.mark.parametrize(("specs", "document"), TAKEN)
def test_p4_1_tensors_are_what_mlflow_makes_of_them(specs: Specs, document: Any) -> None:
    oracle, reader = compiled(specs)
    body = json.dumps(document).encode()
    ours = reader.read(body)
    assert ours is not None
    theirs, client_request_id = oracle.read(body)
    assert difference(reader.frame([ours]), theirs) is None
    assert ours.client_request_id == client_request_id
    if reader.matrix_dtype is not None:
        matrix = reader.array([ours])
        assert matrix is not None
        assert array_difference(matrix, theirs) is None


@pytest.mark.parametrize(("specs", "document"), LEFT)
def test_p4_1_what_is_no_such_tensor_is_left_to_mlflow(specs: Specs, document: Any) -> None:
    assert compiled(specs)[1].read(json.dumps(document).encode()) is None


def test_p4_1_tensors_are_joined_along_their_first_dimension() -> None:
    _, reader = compiled(PAIR)
    bodies = ({"inputs": {"x": [[1, 2], [3, 4]], "n": [1, 2]}}, {"instances": [{"x": [5, 6], "n": 3}]})
    first, second = (reader.read(json.dumps(body).encode()) for body in bodies)
    assert first is not None
    assert second is not None
    assert first.shape_key == second.shape_key
    assert (first.rows, second.rows) == (2, 1)
    joined = reader.frame([first, second])
    np.testing.assert_array_equal(joined["x"], [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(joined["n"], [1, 2, 3])


@pytest.mark.parametrize(
    ("specs", "first", "second"),
    [
        ((FREE,), [[1, 2]], [[1, 2, 3]]),
        ((FIXED,), [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        (PAIR, {"x": [[1, 2]], "n": [1, 2]}, {"x": [[1, 2]], "n": [1, 2]}),
    ],
)
def test_p4_1_tensors_that_cannot_be_joined_have_different_keys(specs: Specs, first: Any, second: Any) -> None:
    _, reader = compiled(specs)
    taken = [reader.read(json.dumps({"inputs": content}).encode()) for content in (first, second)]
    keys = [one.shape_key for one in taken if one is not None]
    assert len(keys) == 2
    assert keys[0] != keys[1]


@pytest.mark.parametrize("document", [{"inputs": [[1, 2]]}, {"dataframe_records": [{"a": 1, "b": 2}]}])
def test_p4_1_what_a_model_does_to_its_tensor_is_not_seen_by_the_next(document: Any) -> None:
    _, reader = compiled((MATRIX,))
    taken = reader.read(json.dumps(document).encode())
    assert taken is not None
    reader.frame([taken])[0, 0] = 99
    np.testing.assert_array_equal(reader.frame([taken]), [[1, 2]])


@pytest.mark.parametrize(
    "spec",
    [TensorSpec(np.dtype("str"), (-1,)), TensorSpec(np.dtype("object"), (-1,)), TensorSpec(np.dtype("M8[ns]"), (-1,))],
)
def test_p4_1_tensors_of_no_numbers_are_left_to_mlflow(spec: TensorSpec) -> None:
    assert compile_input(Oracle([spec]).metadata) is None
