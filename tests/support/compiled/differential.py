"""The differential test: what the compiled input takes must be what MLflow's own way makes of the same body."""

import logging
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import Input, InputReader
from support.compiled.cases import Case
from support.compiled.oracle import Oracle, Refused
from support.compiled.sameness import array_difference, difference

FORMATS = (b"dataframe_records", b"dataframe_split", b"instances", b"inputs")


class Different(AssertionError):
    """The two ways differ."""


@dataclass
class Tally:
    """How many bodies went which way."""

    bodies: int = 0
    taken: int = 0
    refused: int = 0
    """By MLflow, and so never taken."""
    joined: int = 0
    right: Counter[str] = field(default_factory=Counter)
    """Bodies for common signatures, nothing wrong in them, which MLflow takes too, by format."""
    right_taken: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Of the right bodies for common signatures, how many the compiled input takes."""
        return self.right_taken.total() / max(1, self.right.total())

    def add(self, other: "Tally") -> None:
        """Count what another counted."""
        self.bodies += other.bodies
        self.taken += other.taken
        self.refused += other.refused
        self.joined += other.joined
        self.right += other.right
        self.right_taken += other.right_taken

    def __str__(self) -> str:
        return (
            f"compiled input: {self.bodies} bodies, {self.taken} taken, {self.refused} refused by MLflow, "
            f"{self.joined} joins, 0 differences; of {self.right.total()} valid bodies for common signatures "
            f"{100 * self.share:.1f} % take the compiled path"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without MLflow's warnings of extra columns and NumPy's of overflows."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def examine(case: Case, tally: Tally, reader: InputReader | None = None) -> None:
    """Send all bodies of a case both ways; raises Different."""
    oracle = Oracle(case.specs)
    reader = reader or compile_input(oracle.metadata)
    alike: defaultdict[Any, list[tuple[Input, Any]]] = defaultdict(list)
    for body in case.bodies:
        tally.bodies += 1
        try:
            theirs, client_request_id = oracle.read(body.text)
        except Refused as exc:
            tally.refused += 1
            if reader is not None and _read(reader, body.text) is not None:
                raise Different(f"MLflow refuses {body.text!r} for {case.specs}: {exc}") from exc
            continue
        ours = None if reader is None else _read(reader, body.text)
        if body.is_right and case.is_common:
            format_ = next(name for name in FORMATS if b'"%s"' % name in body.text[:40]).decode()
            tally.right[format_] += 1
            tally.right_taken[format_] += ours is not None
        if reader is None or ours is None:
            continue
        tally.taken += 1
        found = _found(reader, ours, theirs)
        if ours.client_request_id != client_request_id:
            found = f"client_request_id {ours.client_request_id!r} for {client_request_id!r}"
        if found is not None:
            raise Different(f"{body.text!r} for {case.specs}: {found}")
        alike[ours.shape_key].append((ours, theirs))
    for group in alike.values():
        if reader is not None and len(group) > 1:
            tally.joined += 1
            found = _found_joined(reader, group)
            if found is not None:
                raise Different(f"{[body.text for body in case.bodies]} for {case.specs}, joined: {found}")


def _read(reader: InputReader, body: bytes) -> Input | None:
    """What a reader makes of a body, also when it comes again: the reader learns."""
    first, again = reader.read(body), reader.read(body)
    if _shown(first) != _shown(again):
        raise Different(f"{body!r} is read as {first} and then as {again}")
    return again


def _shown(given: Input | None) -> str | None:
    return None if given is None else repr((given.rows, given.values, given.client_request_id, given.labels))


def _found(reader: InputReader, ours: Input, theirs: Any) -> str | None:
    found = difference(reader.frame([ours]), theirs)
    if found is not None or reader.matrix_dtype is None:
        return found
    matrix = reader.array([ours])
    assert matrix is not None
    return array_difference(matrix, theirs if isinstance(theirs, np.ndarray) else theirs.to_numpy())


def _found_joined(reader: InputReader, group: list[tuple[Input, Any]]) -> str | None:
    """Whether the rows of a joined input are those of its parts."""
    inputs = [ours for ours, _ in group]
    joined = reader.frame(inputs)
    at = 0
    for ours, theirs in group:
        part = _rows(joined, at, at + ours.rows)
        if isinstance(theirs, pd.DataFrame):
            same = list(part.dtypes) == list(theirs.dtypes) and part.equals(theirs.reset_index(drop=True))
        elif isinstance(theirs, dict):
            same = all(np.array_equal(part[name], theirs[name], equal_nan=True) for name in theirs)
        else:
            same = part.dtype == theirs.dtype and np.array_equal(part, theirs, equal_nan=theirs.dtype.kind == "f")
        if not same:
            return f"{part} for {theirs}"
        at += ours.rows
    if reader.matrix_dtype is not None:
        matrix = reader.array(inputs)
        assert matrix is not None
        return array_difference(matrix, joined if isinstance(joined, np.ndarray) else joined.to_numpy())
    return None


def _rows(joined: Any, start: int, stop: int) -> Any:
    if isinstance(joined, dict):
        return {name: array[start:stop] for name, array in joined.items()}
    part = joined[start:stop]
    return part.reset_index(drop=True) if isinstance(part, pd.DataFrame) else part
