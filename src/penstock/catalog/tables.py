"""What can be done with the tables of a catalog."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from penstock.catalog.delta import describe
from penstock.catalog.ports import Source
from penstock.catalog.query import Rows, run
from penstock.domain.catalog import LEFT_OUT_SUFFIX, VIEW_SUFFIX, Table, TableType
from penstock.domain.errors import InvalidParameterValue, TableDoesNotExist
from penstock.domain.table_name import TableName, parse_table_name


@dataclass(frozen=True, slots=True)
class TypedRows:
    """Rows of a view, and how many requests gave none."""

    table: pa.Table
    left_out: dict[str, int]
    """Numbers of requests by reason, those of `where` only."""

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        return self.table.to_pandas()


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to say of one table."""

    name: TableName
    kind: TableType
    path: str
    version: int | None
    """Of the Delta table; None of a view."""
    rows: int
    columns: dict[str, str]
    """Types in SQL by name."""
    left_out: dict[str, int] | None = None
    """Of a view: numbers of requests that are not in it, by reason."""


class Tables:
    """What can be done with the tables of a source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[Table]:
        """All tables and views, by name."""
        return self._source.tables()

    def get(self, name: str) -> Table:
        """The table or view of a name.

        Raises:
            InvalidParameterValue: it is no name.
            TableDoesNotExist: there is none.
        """
        wanted = parse_table_name(name, "name")
        found = next((table for table in self._source.tables() if table.name == wanted), None)
        if found is None:
            raise TableDoesNotExist(f"Table '{wanted}' does not exist; 'penstock tables list' tells which there are.")
        return found

    def sql(self, statement: str) -> Rows:
        """Run a statement that reads; raises as `penstock.catalog.query.run` does."""
        return run(self._source, statement)

    def show(self, name: str) -> Shown:
        """Version, number of rows, columns of a table; raises as `get` does, and ResourceConflict if it is broken."""
        table = self.get(name)
        is_view = table.kind is TableType.VIEW
        version = None if is_view else describe(str(table.name), table.path).version
        columns = self.columns(table.name)
        (count,) = self.numbers(f"SELECT count(*) FROM {in_sql(table.name)}")
        left_out = self._left_out(table.name, "") if is_view and table.name.table.endswith(VIEW_SUFFIX) else None
        return Shown(table.name, table.kind, table.path, version, count, columns, left_out)

    def columns(self, name: TableName) -> dict[str, str]:
        """Types in SQL by column, in order; raises as `sql` does."""
        return {row["column_name"]: row["column_type"] for row in self._rows_of(f"DESCRIBE {in_sql(name)}")}

    def numbers(self, statement: str) -> tuple[int, ...]:
        """The only row of a statement that counts; raises as `sql` does."""
        (row,) = self._rows_of(statement)
        return tuple(row.values())

    def rows(self, view: str, where: str = "") -> TypedRows:
        """The rows of a view, typed, in memory.

        Args:
            view: its name, `<prefix>_view`.
            where: a condition in SQL on columns that the view shares with its payload table, such as
                `request_date >= date '2026-01-01'`; what it excludes is not even read.

        Raises:
            InvalidParameterValue: it is no view's name, or the condition cannot be.
            TableDoesNotExist: there is none.
        """
        table = self.get(view)
        if table.kind is not TableType.VIEW or not table.name.table.endswith(VIEW_SUFFIX):
            raise InvalidParameterValue(f"view: got '{view}'; wanted the name of a view, such as '<prefix>_view'.")
        condition = f" WHERE {where}" if where else ""
        found = self.sql(f"SELECT * FROM {in_sql(table.name)}{condition}")
        return TypedRows(pa.Table.from_batches(found.batches, found.schema), self._left_out(table.name, condition))

    def _left_out(self, view: TableName, condition: str) -> dict[str, int]:
        stem = view.table.removesuffix(VIEW_SUFFIX)
        name = in_sql(TableName(view.catalog, view.schema, stem + LEFT_OUT_SUFFIX))
        statement = f"SELECT reason, count(*) AS n FROM {name}{condition} GROUP BY reason ORDER BY n DESC, reason"
        return {row["reason"]: row["n"] for row in self._rows_of(statement)}

    def _rows_of(self, statement: str) -> list[dict[str, Any]]:
        return [row for batch in self.sql(statement).batches for row in batch.to_pylist()]


def in_sql(name: TableName) -> str:
    """A name as a statement has it."""
    return ".".join(f"`{part}`" for part in name.parts)
