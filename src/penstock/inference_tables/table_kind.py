"""Kinds of tables: their columns, and how rows become them.

A row is a dictionary from names of columns to plain values, as JSON has them: times are microseconds and dates days
since 1970, maps are dictionaries. A column that a row does not have is null.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

Row = Mapping[str, Any]


class BadRow(Exception):
    """A row does not fit its table; the message says where."""


@dataclass(frozen=True, slots=True)
class TableKind:
    """What tables of one kind have in common."""

    schema: pa.Schema
    partition_by: tuple[str, ...] = ()
    """Columns of dates: a day that is over is rewritten no more, and goes as a whole when its time has come."""

    def columns(self, rows: Sequence[Row]) -> pa.Table:
        """Rows as columns.

        Raises:
            BadRow: a value is not of its column's type.
        """
        arrays = []
        for field in self.schema:
            values = [row.get(field.name) for row in rows]
            if pa.types.is_map(field.type):
                values = [None if value is None else list(value.items()) for value in values]
            try:
                arrays.append(pa.array(values, field.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as exc:
                raise BadRow(f"{field.name}: {exc}") from exc
        return pa.Table.from_arrays(arrays, schema=self.schema)


STRING = pa.string()
TIMESTAMP = pa.timestamp("us", "UTC")
STRING_MAP = pa.map_(pa.string(), pa.string())
DAY_US = 86_400_000_000
"""Microseconds of a day: a time divided by it is a date."""
