"""XGBoost's trees, as a booster of its own or within its scikit-learn classes.

Why it is exact: it is XGBoost's own predictor, reached by the function of its public C interface that `Booster.
inplace_predict` calls too, with the same arguments; labels and probabilities come of the same expressions as in
`XGBClassifier`. What is left out: the conversion of a DataFrame to a DMatrix, and the checks of names and types.

Refused: what is infinite in single precision, which a DMatrix refuses; NaN is a missing value, as there. Linear
boosters, categorical columns, models on a GPU and those with another `missing` have no kernel. The booster's `nthread`
is set to 1.

Measured, 200 trees of depth 6: 106 us for a row, most of them XGBoost's own per call, 310 for 64 requests of a row;
MLflow's predict 2300.
"""

import ctypes
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flavors.kernels.domain import has_no_infinity, in_single
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.kernels.library import is_one_of

_BOOSTER = {"xgboost": ("Booster",)}
_REGRESSORS = {"xgboost": ("XGBRegressor", "XGBRFRegressor")}
_CLASSIFIERS = {"xgboost": ("XGBClassifier", "XGBRFClassifier")}
_ARRAY = b'{"data":[%d,true],"shape":[%d,%d],"strides":null,"typestr":"<f4","version":3}'


def xgboost_kernel(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a booster or of a fitted estimator of XGBoost, if it is one."""
    finish = _finish(estimator, method)
    if finish is None:
        return None
    booster = estimator if is_one_of(estimator, _BOOSTER) else estimator.get_booster()
    config = json.loads(booster.save_config())["learner"]
    if (
        config["gradient_booster"]["name"] not in {"gbtree", "dart"}
        or config["generic_param"]["device"] != "cpu"
        or "c" in (booster.feature_types or ())
        or not math.isnan(getattr(estimator, "missing", math.nan))
        or booster.num_features() != columns.count
    ):
        return None
    booster.set_param({"nthread": 1})
    score = _scores(booster, _iterations(estimator))

    def run(matrix: Matrix) -> Any:
        rows = in_single(matrix, is_mixed=columns.is_mixed)
        if rows is None or not has_no_infinity(rows):
            return None
        scores = score(rows)
        return None if scores is None else finish(scores)

    return Kernel(f"{type(estimator).__name__}.{method}", run, run)


def _iterations(estimator: Any) -> tuple[int, int]:
    """Which rounds are asked: scikit-learn's classes take those up to the best one, a booster takes all."""
    if is_one_of(estimator, _BOOSTER):
        return 0, 0
    begin, end = estimator._get_iteration_range(None)
    return int(begin), int(end)


def _scores(booster: Any, iterations: tuple[int, int]) -> Callable[[Matrix], Matrix | None]:
    """The booster's values for rows in single precision."""
    from xgboost.core import _LIB  # noqa: PLC0415 - only with such a model

    call, handle = _LIB.XGBoosterPredictFromDense, booster.handle
    begin, end = iterations
    asked = {"type": 0, "training": False, "iteration_begin": begin, "iteration_end": end}
    config = json.dumps(asked | {"missing": math.nan, "strict_shape": False, "cache_id": 0}).encode()

    def scores(rows: Matrix) -> Matrix | None:
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        values = ctypes.POINTER(ctypes.c_float)()
        array = _ARRAY % (rows.ctypes.data, *rows.shape)
        results = (ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(values))
        if call(handle, array, config, None, *results):
            return None  # what is wrong is for the slow path to say
        sizes = shape[: dimensions.value]
        # The memory is the booster's and written anew by its next call in this thread.
        return np.frombuffer(ctypes.string_at(values, 4 * math.prod(sizes)), np.float32).reshape(sizes)

    return scores


def _finish(estimator: Any, method: str) -> Callable[[Matrix], Any] | None:
    """From a booster's values to the output."""
    if is_one_of(estimator, _BOOSTER) or is_one_of(estimator, _REGRESSORS):
        return (lambda scores: scores) if method == "predict" else None
    if not is_one_of(estimator, _CLASSIFIERS) or estimator.objective == "multi:softmax":
        return None
    if method == "predict":
        return _labels if estimator.n_classes_ == 2 else _largest  # noqa: PLR2004
    return _both if method == "predict_proba" else None


def _largest(scores: Matrix) -> Any:
    return scores.argmax(axis=1) if scores.ndim > 1 else None


def _labels(scores: Matrix) -> Any:
    return (scores > 0.5).astype(np.int64) if scores.ndim == 1 else None  # noqa: PLR2004


def _both(scores: Matrix) -> Any:
    return scores if scores.ndim > 1 else np.vstack((1.0 - scores, scores)).transpose()
