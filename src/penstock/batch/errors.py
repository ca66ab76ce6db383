"""Rows of error tables: what could not be scored, where it stood, and why."""

import base64
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from penstock.batch.columns import ERROR_SCHEMA, Provenance
from penstock.batch.isolation import Failure
from penstock.batch.pieces import Chunk

_MAX_ROW = 1 << 20


@dataclass(frozen=True, slots=True)
class FailedRow:
    """A row that has no prediction."""

    row: str
    source: str
    position: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.position} of {self.source}: {self.reason}"


def failed_rows(chunk: Chunk, failures: Iterable[Failure]) -> list[FailedRow]:
    """Rows of a chunk that could not be read, and those that could not be scored."""
    unread = [
        FailedRow(bad.text, piece.file, piece.first + bad.at, bad.reason) for piece in chunk.pieces for bad in piece.bad
    ]
    unscored = []
    for failure in failures:
        file, position = chunk.origin(failure.at)
        (row,) = chunk.table.slice(failure.at, 1).to_pylist()
        unscored.append(FailedRow(_as_json(row), file, position, failure.reason))
    return sorted([*unread, *unscored], key=lambda row: (row.source, row.position))


def error_table(rows: list[FailedRow], provenance: Provenance, now: datetime) -> pa.Table:
    """The same as rows of an error table."""
    columns = [pa.array([getattr(row, name) for row in rows]) for name in ("row", "source", "position", "reason")]
    return pa.table([*columns, *provenance.columns(len(rows), now)], names=ERROR_SCHEMA.names)


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps(_plain(row), ensure_ascii=False, default=str)[:_MAX_ROW]


def _plain(value: Any) -> Any:
    """A value that JSON has a word for: NaN and infinities are text, as are bytes, in base 64."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case _:
            return value
