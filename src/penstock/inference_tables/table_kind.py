"""Kinds of tables: their columns, and how rows become them.

A row is a tuple of plain values in the columns' order, as JSON has them: times are microseconds and dates days since
1970, maps are dictionaries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import pyarrow as pa

Row = tuple[Any, ...]


class BadRow(Exception):
    """A row does not fit its table; the message says where."""


@dataclass(frozen=True, slots=True)
class TableKind:
    """What tables of one kind have in common."""

    name: str
    """Under which parked rows find it again."""
    schema: pa.Schema
    date: str | None = None
    """The column of dates by which the table is partitioned: a day that is over is rewritten no more, and goes as a
    whole when its time has come."""

    @property
    def with_statistics(self) -> list[str]:
        """Columns of which the log tells the range in each file: those of numbers and times."""
        return [field.name for field in self.schema if pa.types.is_primitive(field.type) and field.name != self.date]

    def row(self, values: Mapping[str, Any]) -> Row:
        """The row of these values by column; a column that is not there is null."""
        return tuple(values.get(name) for name in self.schema.names)

    def columns(self, rows: Sequence[Row]) -> pa.Table:
        """Rows as columns.

        Raises:
            BadRow: a value is not of its column's type.
        """
        arrays = []
        for index, field in enumerate(self.schema):
            values = list(map(itemgetter(index), rows))  # zip(*rows) takes three times as long
            try:
                arrays.append(pa.array(_pairs(values) if pa.types.is_map(field.type) else values, field.type))
            except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as exc:
                raise BadRow(f"{field.name}: {exc}") from exc
        return pa.Table.from_arrays(arrays, schema=self.schema)


def _pairs(values: Sequence[Any]) -> list[Any]:
    return [None if value is None else list(value.items()) for value in values]


STRING = pa.string()
TIMESTAMP = pa.timestamp("us", "UTC")
STRING_MAP = pa.map_(pa.string(), pa.string())
DAY_US = 86_400_000_000
"""Microseconds of a day: a time divided by it is a date."""
