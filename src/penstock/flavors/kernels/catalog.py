"""Which kernel an estimator has."""

from collections.abc import Callable
from typing import Any

from penstock.flavors.kernels.kernel import Columns, Kernel
from penstock.flavors.kernels.linear import linear_kernel

_MAKERS: tuple[Callable[[Any, str, Columns], Kernel | None], ...] = (linear_kernel,)


def kernel_for(estimator: Any, method: str, columns: Columns) -> Kernel | None:
    """The kernel of a fitted estimator, told by its exact type; None if it has none.

    Args:
        estimator: the library's own object.
        method: which of its methods answers.
        columns: what it will be given.

    Raises:
        Exception: the library is of a version that looks otherwise inside.
    """
    return next((kernel for make in _MAKERS if (kernel := make(estimator, method, columns)) is not None), None)
