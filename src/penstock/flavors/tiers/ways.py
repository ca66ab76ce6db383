"""The ways of asking a model that are quicker than MLflow's, as far as it has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.pyfunc import PyFuncModel
from mlflow.types import Schema

from penstock.flavors.compiled.ports import Input, InputReader
from penstock.flavors.kernels.catalog import kernel_for
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix, Run
from penstock.flavors.kernels.onnx import onnx_tensor_kernel
from penstock.flavors.outputs import joined
from penstock.flavors.tiers.array import nameless
from penstock.flavors.tiers.conversion import TOLERANCE, converted
from penstock.flavors.tiers.frame import frame_predict
from penstock.flavors.tiers.loaded import Estimator
from penstock.flavors.tiers.one_thread import in_one_thread

Predict = Callable[[Sequence[Input]], Any]


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking."""

    name: str
    predict: Predict
    landmarks: npt.NDArray[np.float64] | None = None
    """Rows at which its output jumps, if it knows some."""
    tolerance: float = 0.0
    """How far its numbers may be from the slow way's; 0 where every bit has to agree."""
    in_one_call: Predict | None = None
    """The same with all requests in one call, for a model of which it is not known whether that changes a bit."""


def slow_way(model: PyFuncModel, reader: InputReader, estimator: Estimator | None) -> Predict:
    """MLflow's own `predict`, on the frame that the compiled input makes."""
    return _on_frames(model.predict, reader, estimator)


def frame_way(model: PyFuncModel, reader: InputReader, estimator: Estimator | None) -> Way:
    """The flavor's `predict` on the same frame."""
    return Way("The flavor's predict", _on_frames(frame_predict(model), reader, estimator))


def _on_frames(predict: Callable[[Any], Any], reader: InputReader, estimator: Estimator | None) -> Predict:
    predict = in_one_thread(predict) if estimator is not None and estimator.is_sklearn else predict
    return lambda inputs: predict(reader.frame(inputs))


def array_way(reader: InputReader, schema: Schema, estimator: Estimator, slow: Predict) -> Way | str:
    """The estimator on a matrix; if it has no such way, why."""
    columns = columns_of(reader, schema)
    if columns is None:
        return "its input is not a matrix of numbers"
    copied = nameless(estimator.thing) if estimator.is_sklearn else None
    if copied is None:
        return f"{type(estimator.thing).__name__} may read the names of columns"
    predict, matrix_of = in_one_thread(getattr(copied, estimator.method)), _matrices(reader, columns)

    def ask(inputs: Sequence[Input]) -> Any:
        matrix = matrix_of(inputs)
        return slow(inputs) if matrix is None else predict(matrix)

    return Way(f"{estimator.name} of a matrix", ask)


def kernel_way(reader: InputReader, schema: Schema, estimator: Estimator, slow: Predict) -> Way | str:
    """The estimator's kernel; if it has no such way, why."""
    columns = columns_of(reader, schema)
    try:
        kernel = onnx_tensor_kernel(estimator.thing, estimator.method) if schema.is_tensor_spec() else None
        matrix_of: Callable[[Sequence[Input]], Any] = reader.frame
        if kernel is None:
            if columns is None:
                return "its input is not a matrix of numbers"
            kernel = kernel_for(estimator.thing, estimator.method, columns)
            matrix_of = _matrices(reader, columns)
    except Exception as exc:  # noqa: BLE001 - a library of another version may look otherwise inside
        kind = type(estimator.thing).__name__
        return f"the kernel of {kind} does not fit this version of its library ({type(exc).__name__}: {exc})"
    if kernel is None:
        return f"there is none for {estimator.name}"
    in_one_call = None
    if kernel.run_each is None:
        in_one_call = _through(replace(kernel, run_each=kernel.run), matrix_of, slow)
    return Way(kernel.name, _through(kernel, matrix_of, slow), kernel.landmarks, in_one_call=in_one_call)


def converted_way(reader: InputReader, schema: Schema, estimator: Estimator, slow: Predict, like: Any) -> Way | str:
    """The estimator as ONNX; if it cannot be had, why. `like` is an output of it for one row."""
    columns = columns_of(reader, schema)
    if columns is None:
        return "its input is not a matrix of numbers"
    kernel = converted(estimator, columns, like)
    if isinstance(kernel, str):
        return kernel
    return Way(kernel.name, _through(kernel, _matrices(reader, columns), slow), tolerance=TOLERANCE)


def columns_of(reader: InputReader, schema: Schema) -> Columns | None:
    """What matrices a reader gives; None if it gives none."""
    dtype = reader.matrix_dtype
    if dtype is None or dtype.kind not in "fiu":
        return None
    if schema.is_tensor_spec():
        width = schema.inputs[0].shape[1]
        return Columns(dtype, width, is_mixed=False) if width > 0 else None
    return Columns(dtype, len(schema.inputs), is_mixed=len({column.type for column in schema.inputs}) > 1)


def _matrices(reader: InputReader, columns: Columns) -> Callable[[Sequence[Input]], Matrix | None]:
    """Inputs to a matrix of the usual kind; None for another: optional columns may be left out of a request."""

    def matrix_of(inputs: Sequence[Input]) -> Matrix | None:
        matrix = reader.array(inputs)
        if matrix is None or matrix.shape[1] != columns.count or matrix.dtype != columns.dtype:
            return None
        return matrix

    return matrix_of


def _through(kernel: Kernel, matrix_of: Callable[[Sequence[Input]], Any], slow: Predict) -> Predict:
    """A kernel with what it does not take handed to the slow path.

    Requests of one row each are put together where the kernel has a way for that. All others are asked one by one,
    unless rows do not touch each other: so nobody's answer depends on who else asked.
    """
    run, run_each = kernel.run, kernel.run_each

    def ask(inputs: Sequence[Input]) -> Any:
        is_joined = len(inputs) > 1
        how: Run | None = run
        if is_joined and run_each is not run:
            how = run_each if run_each is not None and all(one.rows == 1 for one in inputs) else None
        output = matrix = None
        if how is not None:
            matrix = matrix_of(inputs)
            output = None if matrix is None else how(matrix)
        if output is not None:
            return output
        return joined([ask((one,)) for one in inputs]) if is_joined else slow(inputs)

    return ask
