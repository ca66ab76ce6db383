"""Cheap tests of whether a matrix is in the domain of a kernel: a false alarm costs time, a miss an error."""

import math

import numpy as np

from penstock.flavors.kernels.kernel import Matrix

_EXACT = 2.0**53


def is_finite(matrix: Matrix) -> bool:
    """Whether there is neither NaN nor infinity: times 0 they are NaN, all else is 0 (0.5 us, without overflow)."""
    if matrix.dtype.kind != "f":
        return True
    return math.isfinite(matrix.ravel("K").dot(np.zeros(matrix.size, matrix.dtype)))


def has_no_infinity(matrix: Matrix) -> bool:
    """Whether there is no infinity; NaN may be there."""
    return is_finite(matrix) or not bool(np.isinf(matrix).any())


def in_single(matrix: Matrix, *, is_mixed: bool) -> Matrix | None:
    """A matrix in single precision, as an estimator that converts its input does it; C-contiguous.

    Numbers too large for it become infinite. None if the columns are of several types and an integer is so large that
    it is rounded on its way through the matrix of doubles, and then again: an estimator takes it there at once.
    """
    if is_mixed and matrix.dtype == np.float64 and not bool((np.abs(matrix) <= _EXACT).all()):
        return None
    with np.errstate(over="ignore"):
        return matrix.astype(np.float32, order="C", copy=False)
