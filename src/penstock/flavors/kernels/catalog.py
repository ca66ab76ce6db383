"""Which kernel an estimator has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from penstock.flavors.kernels.forest import forest_kernel
from penstock.flavors.kernels.gradient_boosting import gradient_boosting_kernel
from penstock.flavors.kernels.hist_gradient_boosting import hist_gradient_boosting_kernel
from penstock.flavors.kernels.kernel import Columns, Kernel
from penstock.flavors.kernels.lightgbm import lightgbm_kernel
from penstock.flavors.kernels.linear import linear_kernel
from penstock.flavors.kernels.onnx import onnx_kernel
from penstock.flavors.kernels.pipeline import steps_of
from penstock.flavors.kernels.scaled import scaled_kernel
from penstock.flavors.kernels.xgboost import xgboost_kernel

_MAKERS: tuple[Callable[[Any, str, Columns], Kernel | None], ...] = (
    linear_kernel,
    forest_kernel,
    gradient_boosting_kernel,
    hist_gradient_boosting_kernel,
    xgboost_kernel,
    lightgbm_kernel,
    onnx_kernel,
)


def kernel_for(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a fitted estimator, told by its exact type; None if it has none.

    Args:
        estimator: the library's own object; of a pipeline, the last step has the kernel.
        method: which of its methods answers.
        columns: what it will be given.

    Raises:
        Exception: the library is of a version that looks otherwise inside.
    """
    transformers, last = steps_of(estimator)
    if not transformers:
        return _kernel_of(last, method, columns)
    # What a scaler gives is of one type, and always a number with a fraction.
    dtype = columns.dtype if columns.dtype.kind == "f" else np.dtype(np.float64)
    kernel = _kernel_of(last, method, replace(columns, dtype=dtype, is_mixed=False))
    return kernel and scaled_kernel(transformers, kernel, columns)


def _kernel_of(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    return next((kernel for make in _MAKERS if (kernel := make(estimator, method, columns)) is not None), None)
