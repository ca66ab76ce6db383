"""The ways of asking a model that are quicker than MLflow's, as far as it has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.pyfunc import PyFuncModel
from mlflow.types import Schema

from penstock.flavors.compiled.ports import Input, InputReader
from penstock.flavors.kernels.catalog import kernel_for
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.outputs import joined
from penstock.flavors.tiers.array import nameless
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
        return "its columns are not all numbers"
    copied = nameless(estimator.thing) if estimator.is_sklearn else None
    kind = type(estimator.thing).__name__
    if copied is None:
        return f"{kind} may read the names of columns"
    predict = in_one_thread(getattr(copied, estimator.method))

    def ask(inputs: Sequence[Input]) -> Any:
        matrix = reader.array(inputs)
        return predict(matrix) if matrix is not None and _is_whole(matrix, columns) else slow(inputs)

    return Way(f"{kind}.{estimator.method} of a matrix", ask)


def kernel_way(reader: InputReader, schema: Schema, estimator: Estimator, slow: Predict) -> Way | str:
    """The estimator's kernel; if it has no such way, why."""
    columns = columns_of(reader, schema)
    kind = type(estimator.thing).__name__
    if columns is None:
        return "its columns are not all numbers"
    try:
        kernel = kernel_for(estimator.thing, estimator.method, columns)
    except Exception as exc:  # noqa: BLE001 - a library of another version may look otherwise inside
        return f"the kernel of {kind} does not fit this version of its library ({type(exc).__name__}: {exc})"
    if kernel is None:
        return f"there is no kernel for {kind}.{estimator.method}"
    return Way(kernel.name, _through(kernel, reader, columns, slow), kernel.landmarks)


def columns_of(reader: InputReader, schema: Schema) -> Columns | None:
    """What matrices a reader gives; None if it gives none."""
    dtype = reader.matrix_dtype
    if dtype is None or dtype.kind not in "fiu":
        return None
    return Columns(dtype, len(schema.inputs), is_mixed=len({column.type for column in schema.inputs}) > 1)


def _is_whole(matrix: Matrix, columns: Columns) -> bool:
    """Whether a matrix is of the usual kind: optional columns may be left out of a request."""
    return matrix.shape[1] == columns.count and matrix.dtype == columns.dtype


def _through(kernel: Kernel, reader: InputReader, columns: Columns, slow: Predict) -> Predict:
    """A kernel with what it does not take handed to the slow path.

    Requests of one row each are put together where the kernel has a way for that. All others are asked one by one,
    unless rows do not touch each other: so nobody's answer depends on who else asked.
    """
    run, run_each = kernel.run, kernel.run_each

    def ask(inputs: Sequence[Input]) -> Any:
        matrix = reader.array(inputs)
        if matrix is not None and _is_whole(matrix, columns):
            if len(inputs) == 1 or run_each is run:
                output = run(matrix)
            elif run_each is not None and len(matrix) == len(inputs):
                output = run_each(matrix)
            else:
                output = None
            if output is not None:
                return output
        return slow(inputs) if len(inputs) == 1 else joined([ask((one,)) for one in inputs])

    return ask
