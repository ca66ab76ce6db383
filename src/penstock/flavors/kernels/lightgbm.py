"""LightGBM's trees, as a booster of its own or within its scikit-learn classes.

Why it is exact: it is LightGBM's own predictor, reached by its public C interface: for one row the call that is made
for that, with everything but the row settled beforehand; for more rows `Booster.predict` on a matrix. Both give what
`Booster.predict` gives for a DataFrame, which it turns into such a matrix first; labels and probabilities come of the
same expressions as in `LGBMClassifier`. One thread.

NaN and infinity are taken, as LightGBM takes them. Categorical columns, objectives of the user's own and settings that
change how it predicts (`pred_early_stop` and its like) have no kernel.

Measured, 100 trees: 13 us for a row, 460 to 520 for 64 requests of a row; MLflow's predict 720 of a booster, 8000 of a
classifier.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.kernels.library import is_one_of

_BOOSTER = {"lightgbm": ("Booster",)}
_REGRESSOR = {"lightgbm": ("LGBMRegressor",)}
_CLASSIFIER = {"lightgbm": ("LGBMClassifier",)}
_DOUBLE, _NORMAL = 1, 0
_ONE_THREAD = "num_threads=1"


def lightgbm_kernel(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a booster or of a fitted estimator of LightGBM, if it is one."""
    finish = _finish(estimator, method)
    if finish is None:
        return None
    booster = estimator if is_one_of(estimator, _BOOSTER) else estimator.booster_
    if booster.pandas_categorical or booster.num_feature() != columns.count:
        return None
    of_one, width = _of_one(booster, columns.count), booster.num_model_per_iteration()

    def run(matrix: Matrix) -> Any:
        rows = matrix.astype(np.float64, order="C", copy=False)
        if len(rows) > 1:
            return finish(booster.predict(rows, num_threads=1))
        values = of_one(rows, np.empty(width))
        return None if values is None else finish(values if width == 1 else values.reshape(1, width))

    return Kernel(f"{type(estimator).__name__}.{method}", run, run)


def _of_one(booster: Any, columns: int) -> Callable[[Matrix, Matrix], Matrix | None]:
    """The booster's values for one row of doubles, written into an array."""
    from lightgbm.basic import _LIB  # noqa: PLC0415 - only with such a model

    settled = ctypes.c_void_p()
    failed = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,
        ctypes.c_int(_NORMAL),
        ctypes.c_int(0),
        ctypes.c_int(booster.best_iteration),
        ctypes.c_int(_DOUBLE),
        ctypes.c_int32(columns),
        _ONE_THREAD.encode(),
        ctypes.byref(settled),
    )
    if failed:
        raise ValueError("LightGBM does not prepare single rows")
    call = _LIB.LGBM_BoosterPredictForMatSingleRowFast

    def of_one(row: Matrix, values: Matrix) -> Matrix | None:
        count = ctypes.c_int64()
        failed = call(settled, ctypes.c_void_p(row.ctypes.data), ctypes.byref(count), values.ctypes.data_as(_POINTER))
        return None if failed or count.value != len(values) else values

    return of_one


_POINTER = ctypes.POINTER(ctypes.c_double)


def _finish(estimator: Any, method: str) -> Callable[[Matrix], Any] | None:
    """From a booster's values to the output."""
    if is_one_of(estimator, _BOOSTER):
        return (lambda values: values) if method == "predict" else None
    is_regressor = is_one_of(estimator, _REGRESSOR)
    if not is_regressor and not is_one_of(estimator, _CLASSIFIER):
        return None
    if any(name.startswith("pred") for name in estimator.get_params()) or callable(estimator.objective):
        return None
    if is_regressor:
        return (lambda values: values) if method == "predict" else None
    classes = estimator.classes_
    if method == "predict":
        return lambda values: classes.take(
            values.argmax(axis=1) if values.ndim > 1 else (values > 1.0 - values).astype(np.int64), axis=0
        )
    return _both if method == "predict_proba" else None


def _both(values: Matrix) -> Any:
    return values if values.ndim > 1 else np.vstack((1.0 - values, values)).transpose()
