"""Rows of tables on standard output: as JSON, one batch at a time, or the first of them as a table for people."""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from penstock.cli.session import print_table, stderr

_MAX_CELL = 120
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def print_rows_as_json(schema: pa.Schema, batches: Iterable[pa.RecordBatch], limit: int | None) -> None:
    """A list of objects. Dates and times are ISO 8601, bytes base64, decimals numbers, NaN is null."""
    names = _distinct(schema.names)
    separator = "["
    for row in itertools.islice(_rows(schema, batches), limit):
        sys.stdout.write(separator + _encode(dict(zip(names, row, strict=True))).decode())
        separator = ",\n"
    sys.stdout.write("]\n" if separator != "[" else "[]\n")


def print_rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch], limit: int) -> None:
    """The first rows, long cells cut; what is left out is told on standard error."""
    rows = _rows(schema, batches)
    print_table(schema.names, [[_cell(value) for value in row] for row in itertools.islice(rows, limit)])
    if next(rows, None) is not None:
        stderr.print(f"There are more than {limit} rows; --limit shows more, --json all.", markup=False)


def _rows(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    plain = [_plain(field.type) for field in schema]
    for batch in batches:
        columns = [map(to, column.to_pylist()) for to, column in zip(plain, batch.columns, strict=True)]
        yield from zip(*columns, strict=True) if columns else ()


def _plain(kind: pa.DataType) -> Callable[[Any], Any]:
    """How values of a type become such as JSON knows: maps are objects."""
    if pa.types.is_map(kind):
        item = _plain(kind.item_type)
        return lambda value: value and {str(key): item(each) for key, each in value}
    if pa.types.is_struct(kind):
        fields = {field.name: _plain(field.type) for field in kind}
        return lambda value: value and {name: to(value[name]) for name, to in fields.items()}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _plain(kind.value_type)
        return lambda value: value and [inner(each) for each in value]
    return _interval if pa.types.is_interval(kind) else _itself


def _itself(value: Any) -> Any:
    return value


def _interval(value: Any) -> Any:
    return value and f"{value.months} months {value.days} days {value.nanoseconds} ns"


def _cell(value: Any) -> str | None:
    """A value as one line; what a terminal would take for a command is written out."""
    if value is None:
        return None
    text = _encode(value).decode() if isinstance(value, dict | list | bytes) else str(value)
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: _MAX_CELL + 1])
    return shown if len(shown) <= _MAX_CELL else shown[:_MAX_CELL] + "…"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of columns as keys: the second `n` is `n_2`."""
    found: list[str] = []
    for name in names:
        free = name
        for number in itertools.count(2):
            if free not in found:
                break
            free = f"{name}_{number}"
        found.append(free)
    return found
