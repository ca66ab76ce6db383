"""The compiled input put to the proof in the model's own environment."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from mlflow.types import ColSpec, TensorSpec

from penstock.flavors.compiled.checking import first_difference
from penstock.flavors.compiled.columns import TYPES
from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import Input, InputReader
from support.compiled.oracle import Oracle

ALL_TYPES = [ColSpec(type_, f"{type_}{at}", required=at == 0) for type_ in TYPES for at in range(2)]
TENSOR = TensorSpec(np.dtype("float32"), (-1, 3))


class Wrong:
    """A reader with a fault of its own in what it makes of its inputs."""

    def __init__(self, reader: InputReader, fault: Callable[[Any], Any]) -> None:
        self.matrix_dtype = reader.matrix_dtype
        self.read = reader.read
        self._reader = reader
        self._fault = fault

    def frame(self, inputs: Sequence[Input]) -> Any:
        return self._fault(self._reader.frame(inputs))

    def array(self, inputs: Sequence[Input]) -> Any:
        return self._reader.array(inputs)


@pytest.mark.parametrize(
    "specs",
    [
        ALL_TYPES,
        [ColSpec("double", "a"), ColSpec("double", "b")],
        [ColSpec("string", "a")],
        [TENSOR],
        [TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("bool"), (2, 2), "b")],
    ],
)
def test_p4_1_with_these_versions_nothing_differs(specs: list[ColSpec | TensorSpec]) -> None:
    metadata = Oracle(specs).metadata
    reader = compile_input(metadata)
    assert reader is not None
    assert first_difference(metadata, reader) is None


@pytest.mark.parametrize(
    ("specs", "fault"),
    [
        (ALL_TYPES, lambda frame: frame[frame.columns[::-1]]),
        (ALL_TYPES, lambda frame: frame.astype({"integer0": "int64"})),
        (ALL_TYPES, lambda frame: frame.astype({"string0": object})),
        (ALL_TYPES, lambda frame: frame.fillna({"double0": 0})),
        (ALL_TYPES, lambda frame: frame.set_index(frame.index + 1)),
        ([ColSpec("double", "a"), ColSpec("double", "b")], lambda frame: type(frame)(frame.to_numpy().copy(order="C"))),
        ([TENSOR], lambda array: array.astype(np.float64)),
        ([TENSOR], lambda array: array + 1),
        ([TENSOR], np.asfortranarray),
    ],
)
def test_p4_1_what_another_version_does_otherwise_is_found(specs: Any, fault: Callable[[Any], Any]) -> None:
    metadata = Oracle(specs).metadata
    reader = compile_input(metadata)
    assert reader is not None
    assert first_difference(metadata, Wrong(reader, fault)) is not None


def test_p4_1_what_mlflow_refuses_and_we_take_is_found() -> None:
    metadata = Oracle([ColSpec("double", "a"), ColSpec("double", "b")]).metadata
    reader = compile_input(Oracle([ColSpec("double", "a"), ColSpec("double", "b", required=False)]).metadata)
    stricter = Oracle([ColSpec("long", "a"), ColSpec("double", "b")]).metadata
    assert reader is not None
    assert first_difference(metadata, reader) is None
    assert "becomes" in (first_difference(stricter, reader) or "")
