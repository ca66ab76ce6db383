"""Many trees as one, so that one call of the library's own C code walks a row through all of them.

A tree's `apply` costs 3 us a call before it looks at a row; a hundred of them are most of what a forest costs for one
row. Here the trees hang below a small balanced tree that asks for one more feature: the tree's number. A row is
repeated for each tree, with that number beside it, and one call gives a leaf for each. Nothing about how a row
finds its leaf is done anew: nodes are copied, and it is the library that walks them.

Measured, 100 trees of 130 nodes, 8 columns: 4 us for the call with one row, against 330 us for 100 calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BYTES = 64 << 20
"""Nodes and values of a union: it is held beside the model. Larger forests are asked tree by tree."""
MAX_CELLS = 1 << 20
"""Numbers in the rows repeated for all trees."""
MAX_PAIRS = 12_800
"""Rows times trees: above, each tree's nodes staying in the cache is worth more than one call (100 trees: 128 rows)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class NodeFields:
    """What a library calls the parts of a node."""

    left: str
    right: str
    feature: str
    threshold: str


def union_of(trees: Sequence[Array], fields: NodeFields, columns: int) -> Array:
    """The nodes of all trees, each an array of nodes, below those of one that asks for the feature `columns`.

    That is the tree's number, and the nodes that ask for it come first, one less than there are trees.

    A row goes left at a node if its feature is not above the threshold; a leaf's children are not positive.
    """
    count = len(trees)
    starts = np.cumsum([count - 1, *map(len, trees)])
    nodes = np.zeros(int(starts[-1]), trees[0].dtype)
    for start, tree in zip(starts, trees, strict=False):
        own = nodes[start : start + len(tree)]
        own[:] = tree
        is_inner = tree[fields.left] > 0
        for side in (fields.left, fields.right):
            own[side][is_inner] += start.astype(tree.dtype[side])
    _hang(nodes, starts[:-1].tolist(), fields, columns)
    return nodes


def repeated(matrix: Array, trees: int) -> Array:
    """Each row for each tree, the trees one after the other, with the tree's number in a last column."""
    rows, columns = matrix.shape
    cells = np.empty((trees, rows, columns + 1), matrix.dtype)
    cells[:, :, :columns] = matrix
    cells[:, :, columns] = np.arange(trees).reshape(trees, 1)
    return cells.reshape(trees * rows, columns + 1)


def is_worthwhile(matrix: Array, trees: int, max_pairs: int = MAX_PAIRS) -> bool:
    """Whether to ask the union, and not each tree."""
    return len(matrix) * trees <= max_pairs and matrix.size * trees <= MAX_CELLS


def summed(values: Array) -> Array:
    """The sum over the first axis, strictly one after the other, as a loop over trees adds."""
    if values[0].size == 1:  # NumPy would add the numbers of a single column pairwise
        total: Array = np.add.accumulate(values, axis=0)[-1]
    else:
        total = np.add.reduce(values, axis=0)
    return total


def _hang(nodes: Array, roots: Sequence[int], fields: NodeFields, columns: int) -> None:
    """Make the first nodes a balanced tree over the trees' numbers."""
    free = iter(range(len(roots) - 1))

    def place(low: int, high: int) -> int:
        if high - low == 1:
            return roots[low]
        at, middle = next(free), (low + high) // 2
        node = nodes[at : at + 1]
        node[fields.feature], node[fields.threshold] = columns, middle - 0.5
        node[fields.left] = place(low, middle)
        node[fields.right] = place(middle, high)
        return at

    place(0, len(roots))
