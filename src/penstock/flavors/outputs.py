"""What models give back: how many rows it has, a part of it, several put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True, slots=True)
class Records:
    """Stands for a DataFrame of these columns where making one would cost more than the prediction."""

    names: tuple[str, ...]
    values: tuple[npt.NDArray[Any], ...]
    """One-dimensional, of one length."""

    def frame(self) -> pd.DataFrame:
        """The DataFrame."""
        return pd.DataFrame.from_dict(dict(zip(self.names, self.values, strict=True)))

    def as_dicts(self) -> list[dict[str, Any]]:
        """Its rows as plain values: what `DataFrame.to_dict("records")` gives (1 us a row in place of 30)."""
        return [
            dict(zip(self.names, row, strict=True))
            for row in zip(*(column.tolist() for column in self.values), strict=True)
        ]


def row_count(output: Any) -> int | None:
    """How many rows an output has; None for one that cannot be told apart by rows."""
    match output:
        case np.ndarray():
            return len(output) if output.ndim else None
        case pd.DataFrame() | pd.Series() | list():
            return len(output)
        case Records():
            return len(output.values[0])
        case dict() if output:
            counts = {row_count(part) if isinstance(part, np.ndarray) else None for part in output.values()}
            return counts.pop() if len(counts) == 1 else None
        case _:
            return None


def part_of(output: Any, start: int, stop: int) -> Any:
    """The rows from one to another of an output that has a row count."""
    match output:
        case pd.DataFrame() | pd.Series():
            return output.iloc[start:stop]
        case Records():
            return Records(output.names, tuple(column[start:stop] for column in output.values))
        case dict():
            return {name: part[start:stop] for name, part in output.items()}
        case _:
            return output[start:stop]


def joined(outputs: Sequence[Any]) -> Any:
    """Outputs of one kind, one after the other."""
    if any(isinstance(output, pd.DataFrame) for output in outputs):
        frames = [output.frame() if isinstance(output, Records) else output for output in outputs]
        return pd.concat(frames, ignore_index=True)
    first = outputs[0]
    if isinstance(first, Records):
        columns = zip(*(output.values for output in outputs), strict=True)
        return Records(first.names, tuple(np.concatenate(column) for column in columns))
    if isinstance(first, dict):
        return {name: np.concatenate([output[name] for output in outputs]) for name in first}
    return np.concatenate(outputs)
