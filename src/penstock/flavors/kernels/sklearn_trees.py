"""Trees of scikit-learn: many as one, and where their outputs jump."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from penstock.flavors.kernels.kernel import Matrix
from penstock.flavors.kernels.tree_union import MAX_BYTES, NodeFields, union_of

_FIELDS = NodeFields("left_child", "right_child", "feature", "threshold")
_LANDMARKS = 8
_NODE_BYTES = 72
"""A node and the place for a value that scikit-learn wants beside it."""


def joined_trees(trees: Sequence[Any], columns: int) -> tuple[Callable[[Matrix], Matrix], Matrix] | None:
    """`apply` of all trees in one, and what each leaf says; None if they are too large to be held twice."""
    width = trees[0].value.shape[2]
    if sum(tree.node_count for tree in trees) * (_NODE_BYTES + 8 * width) > MAX_BYTES:
        return None
    nodes = union_of([tree.__getstate__()["nodes"] for tree in trees], _FIELDS, columns)
    count, depth = len(nodes), max(tree.max_depth for tree in trees) + len(trees).bit_length()
    one = type(trees[0])(columns + 1, np.array([1], np.intp), 1)
    one.__setstate__({"max_depth": depth, "node_count": count, "nodes": nodes, "values": np.zeros((count, 1, 1))})
    above = np.zeros((len(trees) - 1, width))
    return one.apply, np.concatenate([above, *(tree.value[:, 0, :] for tree in trees)])


def landmarks_of(trees: Sequence[Any], columns: int) -> Matrix:
    """Rows of thresholds, for each column some of its own; zero for one that no tree looks at."""
    features = np.concatenate([tree.feature for tree in trees[:_LANDMARKS]])
    thresholds = np.concatenate([tree.threshold for tree in trees[:_LANDMARKS]])
    return spread(features, thresholds, columns)


def spread(features: Matrix, thresholds: Matrix, columns: int) -> Matrix:
    """Thresholds as rows, each in the column of its feature."""
    marks = np.zeros((_LANDMARKS, columns))
    for feature in np.unique(features[features >= 0]):
        own = thresholds[features == feature][:_LANDMARKS]
        marks[: len(own), feature] = own
    return marks
