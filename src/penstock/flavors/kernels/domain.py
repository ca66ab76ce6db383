"""Cheap tests of whether a matrix is in the domain of a kernel: a false alarm costs time, a miss an error."""

import math
from typing import Any

import numpy as np

from penstock.flavors.kernels.kernel import Matrix

_sum = np.add.reduce


def is_finite(matrix: Matrix) -> bool:
    """Whether there is neither NaN nor infinity, as their sum tells; it may overflow, which is no loss (1 us)."""
    return matrix.dtype.kind not in "fc" or math.isfinite(_sum(matrix, None))


def has_no_infinity(matrix: Matrix) -> bool:
    """Whether there is no infinity; NaN may be there."""
    return is_finite(matrix) or not bool(np.isinf(matrix).any())


def rounds_once(matrix: Matrix) -> bool:
    """Whether integers in a matrix of doubles are the same as in columns of their own.

    A frame of integer and double columns becomes a matrix of doubles, and an estimator that works in single precision
    takes the integers straight to it. Above 2^53 the way by a double may round twice.
    """
    return bool((np.abs(matrix) <= _EXACT).all())


_EXACT: Any = 2.0**53
