"""Forests and single trees of scikit-learn.

Why it is exact: rows are converted to single precision as `_validate_X_predict` does it, leaves are found by
scikit-learn's own `Tree.apply` ([many trees in one call](tree_union.py)) or `Tree.predict`, and what the trees say is
added in the order of `estimators_`, beginning with zero, and divided by their number, as `_accumulate_prediction` does
it with one job. What is left out: checks, joblib, and a Python call a tree.

Refused: infinity, also what is infinite in single precision; NaN, unless the forest takes it. Only one output.

Measured, 100 trees, 8 columns: 55 to 90 us for a row, 10 to 40 for each of many; MLflow's predict 9000 for one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from penstock.flavors.kernels.domain import has_no_infinity, in_single, is_finite
from penstock.flavors.kernels.kernel import Columns, Kernel, Matrix
from penstock.flavors.kernels.library import is_one_of
from penstock.flavors.kernels.sklearn_trees import joined_trees, landmarks_of
from penstock.flavors.kernels.tree_union import is_worthwhile, repeated, summed

_FORESTS = {
    "sklearn.ensemble": (
        "RandomForestClassifier",
        "RandomForestRegressor",
        "ExtraTreesClassifier",
        "ExtraTreesRegressor",
    )
}
_TREES = {
    "sklearn.tree": ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
}

Sum = Callable[[Matrix], Matrix]
"""For rows in single precision: what all trees say, added up; a row of the result for each row."""


def forest_kernel(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a fitted forest or tree, if it is one."""
    is_forest = is_one_of(estimator, _FORESTS)
    if not is_forest and not is_one_of(estimator, _TREES):
        return None
    is_classifier = hasattr(estimator, "classes_")
    if estimator.n_outputs_ != 1 or method not in (("predict", "predict_proba") if is_classifier else ("predict",)):
        return None
    members = estimator.estimators_ if is_forest else [estimator]
    trees = [member.tree_ for member in members]
    total = _sum(trees, columns.count) if is_forest else trees[0].predict
    is_allowed = has_no_infinity if members[0]._support_missing_values(np.zeros((1, 1))) else is_finite
    classes = estimator.classes_ if is_classifier else None

    def run(matrix: Matrix) -> Any:
        rows = in_single(matrix, is_mixed=columns.is_mixed)
        if rows is None or not is_allowed(rows):
            return None
        values = total(rows)
        if is_forest:
            values /= len(trees)
        if classes is None:
            return values[:, 0]
        return values if method == "predict_proba" else classes.take(values.argmax(axis=1), axis=0)

    return Kernel(f"{type(estimator).__name__}.{method}", run, run, landmarks_of(trees, columns.count))


def _sum(trees: Sequence[Any], columns: int) -> Sum:
    def one_by_one(rows: Matrix) -> Matrix:
        added = np.zeros((len(rows), width))
        for tree in trees:
            added += tree.predict(rows)
        return added

    width = trees[0].value.shape[2]
    joined = joined_trees(trees, columns)
    if joined is None:
        return one_by_one
    apply, values = joined

    def at_once(rows: Matrix) -> Matrix:
        if not is_worthwhile(rows, len(trees)):
            return one_by_one(rows)
        leaves = apply(repeated(rows, len(trees)))
        # A sum that began with zero is never -0.0.
        return summed(values.take(leaves, axis=0).reshape(len(trees), len(rows), width)) + 0.0

    return at_once
