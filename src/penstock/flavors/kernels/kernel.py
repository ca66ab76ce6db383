"""What a kernel is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[Any]
"""Rows of numbers, of the type and the memory layout that the estimator would see."""

Run = Callable[[Any], Any]
"""The estimator's output for a matrix; None if it holds what is outside of the kernel's domain.

What is outside (NaN for an estimator that refuses it, say) is answered by the slow path, so that errors are its own.
"""


@dataclass(frozen=True, slots=True)
class Kernel:
    """An exact replacement of an estimator's `predict`, or of whichever method the model was logged with."""

    name: str
    """What it stands for, as in `RandomForestClassifier.predict_proba`."""
    run: Run
    """For one request: what the estimator gives for these rows, bit for bit."""
    run_each: Run | None
    """For rows that are a request each: what the estimator gives for each of them alone. None if it cannot be said
    in one call. The same as `run` where rows do not touch each other."""
    landmarks: npt.NDArray[np.float64] | None = None
    """Rows of values at which the output jumps, for each column one: thresholds of trees. Probes are made of them."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a kernel's matrices are made of."""

    dtype: np.dtype[Any]
    count: int
    is_mixed: bool
    """Whether the frame has columns of several types, of which the matrix has the common one."""
