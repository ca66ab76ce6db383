"""What a replica gets of a compiled signature."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray


class Input(msgspec.Struct, frozen=True):
    """One body that was taken: values that are known to fit, and not yet an array where a list does."""

    rows: int
    """How many; for tensors the size of the first dimension."""
    values: Any
    """Its reader's own affair."""
    shape_key: Any
    """Hashable. Inputs of one reader with equal keys may be joined; of some, none is equal to any other."""
    client_request_id: str | None = None
    labels: Sequence[int | str] | None = None
    """Of the rows, if the body gives any: their index."""


class InputReader(Protocol):
    """Bodies as MLflow's own parser and schema enforcement would read them, for one signature."""

    @property
    def matrix_dtype(self) -> "np.dtype[Any] | None":
        """The type of `array`; None if the columns are not all numbers, or this is no signature of columns."""

    def read(self, body: bytes) -> Input | None:
        """Take a JSON body, or None: hand the same bytes to MLflow. Never raises."""

    def frame(self, inputs: Sequence[Input]) -> Any:
        """What the model predicts on, for the rows of all inputs of one `shape_key`, one after the other.

        A DataFrame, or for tensors an ndarray or a dict of them. It is the caller's to change.
        """

    def array(self, inputs: Sequence[Input]) -> "NDArray[Any] | None":
        """`frame(inputs).to_numpy()`, without the frame; None without a `matrix_dtype`."""
