"""Chunks: what is read of a spool at a time and committed before more is read."""

from dataclasses import dataclass, field

from penstock.inference_tables.table_kind import Row, TableKind
from penstock.spool.record import Record

MAX_ROWS = 20_000
MAX_BYTES = 16 << 20
"""A chunk ends with the record that passes one of these."""


@dataclass(slots=True)
class Rows:
    """Rows for one table."""

    kind: TableKind
    positions: list[int] = field(default_factory=list)
    """Where in its source each of them ends; they rise."""
    values: list[Row] = field(default_factory=list)

    def after(self, position: int) -> "Rows":
        """Those behind a position."""
        if not self.positions or self.positions[0] > position:
            return self
        first = next((i for i, at in enumerate(self.positions) if at > position), len(self.positions))
        return Rows(self.kind, self.positions[first:], self.values[first:])


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that makes no row."""

    position: int
    reason: str
    what: Record | Row


@dataclass(slots=True)
class Chunk:
    """Rows from one source, by their tables."""

    app: str
    """The source: the process that wrote the records. It is the application id of the tables' transactions."""
    end: int
    """The position behind the chunk, of which the version of those transactions is made."""
    tables: dict[tuple[str, str], Rows] = field(default_factory=dict)
    """By name and kind."""
    refused: list[Refused] = field(default_factory=list)

    def add(self, table: str, kind: TableKind, position: int, row: Row) -> None:
        """One more row."""
        key = table, kind.name
        rows = self.tables.get(key)
        if rows is None:
            rows = self.tables[key] = Rows(kind)
        rows.positions.append(position)
        rows.values.append(row)
