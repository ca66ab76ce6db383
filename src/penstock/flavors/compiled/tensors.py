"""Bodies for signatures of tensors.

NumPy is given the same lists that MLflow gives it, and the type of the signature, so that what it makes of numbers,
null, truth values and numbers in strings is the same by construction. What is left to decide is the form of a body, and
whether the shape is the signature's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.flavors.compiled.columns import TYPES
from penstock.flavors.compiled.envelope import opened
from penstock.flavors.compiled.formats import rows_of_split
from penstock.flavors.compiled.ports import Input

_COLUMN_TYPES = {type_.dtype: type_ for type_ in TYPES.values() if type_.dtype.kind in "fib"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a signature."""

    name: str | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """-1 where any size is taken."""

    def made_of(self, values: Any) -> NDArray[Any] | None:
        """The array of some nested lists; None if it has another shape. Raises what NumPy raises."""
        if type(values) is not list or not values:
            return None
        array: NDArray[Any] = np.array(values, dtype=self.dtype)
        return array if self.fits(array.shape) else None

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is taken."""
        return len(shape) == len(self.shape) and all(
            want in (-1, size) for want, size in zip(self.shape, shape, strict=True)
        )


class TensorReader:
    """Reads bodies into arrays, and joins those of several along their first dimension."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        self._tensors = tensors
        self._names = {tensor.name: tensor for tensor in tensors if tensor.name is not None}
        self._first = tensors[0]
        is_matrix = not self._names and len(self._first.shape) == 2  # noqa: PLR2004
        self.matrix_dtype: np.dtype[Any] | None = self._first.dtype if is_matrix else None
        self._can_join = all(tensor.shape[0] == -1 for tensor in tensors)

    def read(self, body: bytes) -> Input | None:
        """See `InputReader`."""
        envelope = opened(body)
        if envelope is None:
            return None
        try:
            arrays = self._arrays(envelope.format, envelope.content)
        except (ValueError, TypeError, OverflowError, KeyError, RecursionError):
            return None
        if arrays is None:
            return None
        sizes = {len(array) for array in arrays}
        if self._can_join and len(sizes) == 1:
            key: Any = tuple(array.shape[1:] for array in arrays)
        else:
            key = object()
        return Input(len(arrays[0]), arrays, key, envelope.client_request_id)

    def frame(self, inputs: Sequence[Input]) -> Any:
        """See `InputReader`."""
        if len(inputs) == 1:
            arrays = [array.copy(order="F" if _is_column_wise(array) else "C") for array in inputs[0].values]
        else:
            arrays = [np.concatenate(parts) for parts in zip(*(one.values for one in inputs), strict=True)]
        return dict(zip(self._names, arrays, strict=True)) if self._names else arrays[0]

    def array(self, inputs: Sequence[Input]) -> NDArray[Any] | None:
        """See `InputReader`."""
        if self.matrix_dtype is None:
            return None
        matrix: NDArray[Any] = self.frame(inputs)
        return matrix

    def _arrays(self, format_: str, content: Any) -> list[NDArray[Any]] | None:
        match format_:
            case "inputs" | "instances":
                found = self._by_name(format_, content) if self._names else [self._first.made_of(content)]
            case _:
                found = [self._of_table(format_, content)] if self.matrix_dtype is not None else None
        if found is None or any(array is None for array in found):
            return None
        return [array for array in found if array is not None]

    def _by_name(self, format_: str, content: Any) -> list[NDArray[Any] | None] | None:
        if type(content) is list and content and type(content[0]) is dict:
            if format_ == "inputs" or {*map(type, content)} != {dict}:
                return None
            if any(record.keys() != self._names.keys() for record in content):
                return None
            content = {name: [record[name] for record in content] for name in self._names}
        if type(content) is list and len(self._names) == 1:
            return [self._first.made_of(content)]
        if type(content) is not dict or content.keys() != self._names.keys():
            return None
        if {*map(type, content.values())} != {list}:
            return None
        if format_ == "instances" and len({*map(len, content.values())}) != 1:
            return None
        return [tensor.made_of(content[name]) for name, tensor in self._names.items()]

    def _of_table(self, format_: str, content: Any) -> NDArray[Any] | None:
        """The values of a DataFrame, which lie column by column."""
        rows = rows_of_split(content) if format_ == "dataframe_split" else _rows_of_records(content)
        type_ = _COLUMN_TYPES.get(self._first.dtype)
        if rows is None or type_ is None or self._first.shape != (-1, len(rows[0])):
            return None
        if not all(map(type_.accepts, zip(*rows, strict=True))):
            return None
        if len(rows[0]) > 1:
            return np.array(rows, self._first.dtype, order="F")
        # Of a single column MLflow looks at the row labelled 0.
        return np.array(rows, self._first.dtype) if type(content) is list or content.get("index") is None else None


def _is_column_wise(array: NDArray[Any]) -> bool:
    return array.ndim == 2 and array.shape[1] > 1 and array.strides[0] == array.itemsize  # noqa: PLR2004


def _rows_of_records(content: Any) -> list[Sequence[Any]] | None:
    if type(content) is not list or not content or {*map(type, content)} != {dict}:
        return None
    keys = content[0].keys()
    if not keys or any(record.keys() != keys for record in content):
        return None
    return [tuple(map(record.__getitem__, keys)) for record in content]
