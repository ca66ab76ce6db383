"""ONNX models, by the session that MLflow has opened.

Why it is exact: it is `InferenceSession.run` with the feed that `_OnnxModelWrapper.predict` makes: the matrix of a
frame's values under the name of the only input, doubles as floats where the model wants floats. What comes back stands
for the DataFrame that MLflow makes of it. Threads are the session's: `onnx_session_options` when the model is logged.

Whatever the session refuses, and outputs of different lengths, go to the slow path for their error.

Measured: 9 us for a row of a linear model, 47 of a forest of 100 trees; MLflow's predict 600 to 750. What a session
gives for many rows in one run may differ in the last bits from one run each; requests are run one by one where it does.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.kernels.library import is_one_of
from penstock.flavors.outputs import Records

_WRAPPER = {"mlflow.onnx": ("_OnnxModelWrapper",)}
_NAME = "InferenceSession.run"


def onnx_kernel(wrapper: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of an ONNX model whose signature has columns, if it has one input; several get a column each."""
    if not is_one_of(wrapper, _WRAPPER) or method != "predict" or len(wrapper.inputs) != 1:
        return None
    session, names, outputs = wrapper.rt, wrapper.output_names, tuple(wrapper.output_names)
    (name, _), casts = wrapper.inputs[0], _casts(wrapper)

    def run(matrix: Matrix) -> Any:
        got = session.run(names, {name: casts[name](matrix)})
        values = tuple(np.asarray(value).reshape(-1) for value in got)
        return Records(outputs, values) if len({*map(len, values)}) == 1 else None

    return Kernel(_NAME, run, None)


def onnx_tensor_kernel(wrapper: Any, method: str) -> Kernel | None:
    """The kernel of an ONNX model whose signature has tensors."""
    if not is_one_of(wrapper, _WRAPPER) or method != "predict":
        return None
    session, names, casts = wrapper.rt, wrapper.output_names, _casts(wrapper)
    first = wrapper.inputs[0][0] if len(wrapper.inputs) == 1 else None

    def run(tensors: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]) -> Any:
        if isinstance(tensors, np.ndarray):
            if first is None:
                return None
            feed = {first: casts[first](tensors)}
        else:
            feed = {name: casts[name](tensor) if name in casts else tensor for name, tensor in tensors.items()}
        return dict(zip(names, session.run(names, feed), strict=True))

    return Kernel(_NAME, run, None)


def _casts(wrapper: Any) -> dict[str, Callable[[Matrix], Matrix]]:
    """For each input, what MLflow does to an array."""
    return {name: _to_single if kind == "tensor(float)" else np.asarray for name, kind in wrapper.inputs}


def _to_single(values: Matrix) -> Matrix:
    return values.astype(np.float32) if values.dtype == np.float64 else values
