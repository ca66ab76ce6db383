"""Rows that cannot be scored, found without losing those that can.

A chunk that fails is halved until what fails is a row. Before that, rows with gaps or numbers that are none, of which
most models take offence, are set apart, so that a few of them do not break up all the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from penstock.flavors.pyfunc import one_line

MAX_FIRST_FAILURES = 1000
"""So many rows may fail before the first that does not; then it is the model that fails, and not rows."""
_MAX_REASON = 2000

Columns = list[pa.Array]
"""The prediction, and the probabilities if they are wanted."""
Ask = Callable[[pa.Table], Columns]


class Unscorable(Exception):
    """No row at all can be scored."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be scored."""

    at: int
    """Its place in the chunk, from 0."""
    reason: str


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a chunk."""

    columns: Columns | None
    """For the rows that were scored, in order; None if there is none."""
    failures: tuple[Failure, ...] = ()

    def kept(self, rows: int) -> NDArray[np.int64] | None:
        """The places of the rows that were scored; None if all were."""
        if not self.failures:
            return None
        return np.delete(np.arange(rows), [failure.at for failure in self.failures])


def score_rows(ask: Ask, table: pa.Table, *, is_first: bool = False) -> Scored:
    """Score a chunk; rows that cannot be are told with their reasons.

    Args:
        ask: the model; it may raise anything.
        table: what it is asked.
        is_first: whether this model has not scored anything yet.

    Raises:
        Unscorable: it is the first, and too many rows fail before one does not.
    """
    try:
        return Scored(ask(table))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever the model's code raises
        if table.num_rows == 1:
            return Scored(None, (Failure(0, reason_of(exc)),))
    search = _Search(ask, is_first)
    odd = _odd_rows(table)
    for places in (np.flatnonzero(~odd), np.flatnonzero(odd)):
        if len(places) == table.num_rows:
            search.halve(table, places)
        elif len(places):
            search.go(table.take(places), places)
    return search.result()


def reason_of(error: BaseException) -> str:
    """Why a row failed, on one line."""
    return one_line(error)[:_MAX_REASON]


@dataclass(slots=True)
class _Search:
    ask: Ask
    is_first: bool
    found: list[tuple[NDArray[Any], Columns]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def go(self, table: pa.Table, places: NDArray[Any]) -> None:
        try:
            self.found.append((places, self.ask(table)))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - as above
            if table.num_rows > 1:
                self.halve(table, places)
            else:
                self._note(Failure(int(places[0]), reason_of(exc)))

    def halve(self, table: pa.Table, places: NDArray[Any]) -> None:
        middle = table.num_rows // 2
        self.go(table.slice(0, middle), places[:middle])
        self.go(table.slice(middle), places[middle:])

    def _note(self, failure: Failure) -> None:
        self.failures.append(failure)
        if self.is_first and not self.found and len(self.failures) >= MAX_FIRST_FAILURES:
            raise Unscorable(f"none of the first {len(self.failures)} rows could be scored: {failure.reason}")

    def result(self) -> Scored:
        failures = tuple(sorted(self.failures, key=lambda failure: failure.at))
        if not self.found:
            return Scored(None, failures)
        order = pa.array(np.argsort(np.concatenate([places for places, _ in self.found]), kind="stable"))
        columns = zip(*(columns for _, columns in self.found), strict=True)
        return Scored([_joined(parts).take(order) for parts in columns], failures)


def _joined(parts: tuple[pa.Array, ...]) -> pa.Array:
    """Parts of one column, of which some may have been taken for another type: integers where others are doubles."""
    if len({part.type for part in parts}) > 1:
        schema = pa.unify_schemas([pa.schema([("", part.type)]) for part in parts], promote_options="permissive")
        parts = tuple(part.cast(schema.field(0).type) for part in parts)
    return pa.concat_arrays(parts)


def _odd_rows(table: pa.Table) -> NDArray[np.bool_]:
    odd = np.zeros(table.num_rows, bool)
    for column in table.columns:
        if pa.types.is_floating(column.type):
            odd |= ~pc.fill_null(pc.is_finite(column), False).to_numpy()
        elif column.null_count:
            odd |= pc.is_null(column).to_numpy()
    return odd
