"""A scikit-learn model converted to ONNX when it is loaded, for a served entity that asks for it.

This is the one way that is not exact: another library computes, in other steps. So it is off unless asked for, tried
only where there is no kernel, and has to pass a gate on the probe rows: labels equal, numbers within `TOLERANCE`. Rows
that the probes do not stand for (NaN, infinity, numbers beyond `REACH`) are answered by the slow path.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.tiers.loaded import Estimator

TOLERANCE = 1e-5
"""Of `|converted - own| / max(1, |own|)`."""
REACH = 1e6
_PREDICT, _PROBABILITIES = "predict", "predict_proba"


def converted(estimator: Estimator, columns: Columns, like: Any) -> Kernel | str:
    """The model as ONNX in a session of one thread; if it cannot be had, why.

    Args:
        estimator: of scikit-learn.
        columns: what it is given.
        like: an output of the model for one row, whose type and shape are kept.
    """
    if not estimator.is_sklearn or estimator.method not in {_PREDICT, _PROBABILITIES} or type(like) is not np.ndarray:
        return f"{estimator.name} is not converted"
    try:
        run = _session(estimator, columns)
    except ImportError as exc:
        return f"{exc.name} is not installed"
    except Exception as exc:  # noqa: BLE001 - converters have errors of their own, a hundred kinds
        return f"skl2onnx does not convert it ({type(exc).__name__}: {str(exc).splitlines()[0] if str(exc) else ''})"
    shape, dtype = like.shape[1:], like.dtype

    def within_reach(matrix: Matrix) -> Any:
        if not bool((np.abs(matrix) <= REACH).all()):
            return None
        return run(matrix).reshape(len(matrix), *shape).astype(dtype, copy=False)

    return Kernel(f"{estimator.name} converted to ONNX", within_reach, within_reach)


def _session(estimator: Estimator, columns: Columns) -> Callable[[Matrix], Any]:
    import onnxruntime  # noqa: PLC0415 - not in every environment, and only where it was asked for
    from skl2onnx import to_onnx  # noqa: PLC0415

    rows = np.zeros((1, columns.count), columns.dtype)
    is_classifier = hasattr(estimator.thing, "classes_")
    options = {id(estimator.thing): {"zipmap": False}} if is_classifier else None
    model = to_onnx(estimator.thing, rows, options=options)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=settings, providers=["CPUExecutionProvider"]
    )
    name = session.get_outputs()[1 if estimator.method == _PROBABILITIES else 0].name

    def run(matrix: Matrix) -> Any:
        return session.run([name], {"X": np.ascontiguousarray(matrix)})[0]

    return run
