"""Linear models: `X @ coef + intercept`, and what becomes of the scores.

Why it is exact: it is the very expression of `LinearModel._decision_function` and `LinearClassifierMixin.
decision_function`, on a matrix of the same type and memory layout, so BLAS is called with the same arguments; the links
(expit, softmax, clip) are the same NumPy and SciPy calls. What is left out only looks at the input.

BLAS rounds the product of a matrix with many rows otherwise than that of its rows. So rows that are requests of their
own are multiplied as a stack of matrices of one row each: NumPy then makes the same BLAS call for each row, in C (10 ns
more a row), and an answer does not depend on what was asked beside it.

Refused: NaN and infinity, which these estimators do not take.

Measured, 8 columns: 4 us for a row's label, 6 for its probabilities, 30 for 64 requests; MLflow's predict 2000.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.flavors.kernels.domain import is_finite
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix, Run
from penstock.flavors.kernels.library import is_one_of

Scores = Callable[[Matrix], Matrix]

_CLASSIFIERS = {
    "sklearn.linear_model": (
        "LogisticRegression",
        "LogisticRegressionCV",
        "SGDClassifier",
        "Perceptron",
        "PassiveAggressiveClassifier",
        "RidgeClassifier",
        "RidgeClassifierCV",
    ),
    "sklearn.svm": ("LinearSVC",),
}
REGRESSORS = {
    "sklearn.linear_model": (
        "LinearRegression",
        "Ridge",
        "RidgeCV",
        "Lasso",
        "LassoCV",
        "LassoLars",
        "LassoLarsCV",
        "LassoLarsIC",
        "Lars",
        "LarsCV",
        "ElasticNet",
        "ElasticNetCV",
        "MultiTaskElasticNet",
        "MultiTaskLasso",
        "OrthogonalMatchingPursuit",
        "OrthogonalMatchingPursuitCV",
        "BayesianRidge",
        "ARDRegression",
        "HuberRegressor",
        "TheilSenRegressor",
        "QuantileRegressor",
    ),
    "sklearn.svm": ("LinearSVR",),
}
_RAVELLED = {"sklearn.linear_model": ("SGDRegressor", "PassiveAggressiveRegressor")}
_OVR_PROBABILITIES = {"sklearn.linear_model": ("SGDClassifier",)}
_SOFTMAX_PROBABILITIES = {"sklearn.linear_model": ("LogisticRegression", "LogisticRegressionCV")}


def linear_kernel(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a fitted linear model, if it is one."""
    finish = _finish(estimator, method)
    if finish is None:
        return None
    weights = estimator.coef_.T if estimator.coef_.ndim > 1 else estimator.coef_
    intercept = estimator.intercept_

    def run(matrix: Matrix) -> Any:
        if not is_finite(matrix):
            return None
        return finish(matrix @ weights + intercept)

    def run_each(matrix: Matrix) -> Any:
        if not is_finite(matrix):
            return None
        rows, columns = matrix.shape
        return finish((np.ascontiguousarray(matrix).reshape(rows, 1, columns) @ weights)[:, 0] + intercept)

    return Kernel(f"{type(estimator).__name__}.{method}", run, run_each)


def _finish(estimator: Any, method: str) -> Callable[[Matrix], Any] | None:
    """From scores to the output."""
    if is_one_of(estimator, REGRESSORS):
        return (lambda scores: scores) if method == "predict" else None
    if is_one_of(estimator, _RAVELLED):
        return np.ravel if method == "predict" else None
    if not is_one_of(estimator, _CLASSIFIERS) or _is_multilabel(estimator):
        return None
    if method == "predict":
        return _labels(estimator.classes_)
    if method == "predict_proba":
        return _probabilities(estimator)
    return None


def _is_multilabel(estimator: Any) -> bool:
    binarizer = getattr(estimator, "_label_binarizer", None)
    return binarizer is not None and str(binarizer.y_type_).startswith("multilabel")


def _labels(classes: Any) -> Run:
    # Of a single row the answer is one of two arrays that are ready.
    no, yes = (_constant(classes[at : at + 1]) for at in (0, 1))

    def labels(scores: Matrix) -> Any:
        if scores.size == 1:
            return yes if scores.item() > 0 else no
        if scores.ndim == 1 or scores.shape[1] == 1:
            return classes.take((scores.reshape(-1) > 0).astype(np.int64), axis=0)
        return classes.take(scores.argmax(axis=1), axis=0)

    return labels


def _constant(values: Matrix) -> Matrix:
    values = values.copy()
    values.flags.writeable = False
    return values


def _probabilities(estimator: Any) -> Run | None:
    if is_one_of(estimator, _OVR_PROBABILITIES):
        return {"log_loss": _ovr, "modified_huber": None}.get(estimator.loss)
    if not is_one_of(estimator, _SOFTMAX_PROBABILITIES):
        return None
    return _binary if len(estimator.classes_) <= 2 else _softmax  # noqa: PLR2004


def _expit() -> Any:
    """SciPy's, which scikit-learn has imported: not every environment has it."""
    return sys.modules["scipy.special"].expit


def _binary(scores: Matrix) -> Any:
    positive = _expit()(scores.reshape(-1))
    both = np.empty((len(positive), 2), positive.dtype)
    np.subtract(1, positive, out=both[:, 0])
    both[:, 1] = positive
    return both


def _softmax(scores: Matrix) -> Any:
    scores -= scores.max(axis=1).reshape(-1, 1)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1).reshape(-1, 1)
    return scores


def _ovr(scores: Matrix) -> Any:
    if scores.ndim == 1 or scores.shape[1] == 1:
        return _binary(scores)
    _expit()(scores, out=scores)
    total = scores.sum(axis=1)
    if not total.all():
        return None
    scores /= total.reshape(-1, 1)
    return scores
