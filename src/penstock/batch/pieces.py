"""Consecutive rows of a source, and chunks made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_CHUNK_BYTES = 128 << 20
"""A chunk ends early when what it holds is that large, so that memory is bounded whatever rows are like."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not even be read."""

    at: int
    """Its place among the rows that it came with, from 0."""
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that follow each other in one file."""

    file: str
    first: int
    """The number of the first of them in its file, from 0."""
    records: int
    """How many rows there are, with those that could not be read."""
    table: pa.Table
    """Those that could."""
    bad: tuple[BadRow, ...] = ()

    @property
    def places(self) -> NDArray[np.int64]:
        """Where the rows of the table are among all of them."""
        return np.delete(np.arange(self.records), [row.at for row in self.bad])

    def part(self, start: int, stop: int) -> "Piece":
        """Those of its rows."""
        if (start, stop) == (0, self.records):
            return self
        first = start - sum(row.at < start for row in self.bad)
        rows = stop - start - sum(start <= row.at < stop for row in self.bad)
        bad = tuple(BadRow(row.at - start, row.text, row.reason) for row in self.bad if start <= row.at < stop)
        return Piece(self.file, self.first + start, stop - start, self.table.slice(first, rows), bad)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are scored and committed together."""

    number: int
    start: int
    """The number of its first row in the source, from 0."""
    pieces: tuple[Piece, ...]
    table: pa.Table = field(repr=False)
    """All that could be read."""

    @property
    def records(self) -> int:
        """How many rows there are, with those that could not be read."""
        return sum(piece.records for piece in self.pieces)

    def origin(self, at: int) -> tuple[str, int]:
        """The file of a row of the table, and its number there."""
        for piece in self.pieces:
            if at < piece.table.num_rows:
                return piece.file, piece.first + (int(piece.places[at]) if piece.bad else at)
            at -= piece.table.num_rows
        raise IndexError(at)


class Rows(Protocol):
    """A source whose rows have an order that does not change."""

    @property
    def schema(self) -> pa.Schema:
        """Of all its rows."""
        ...

    @property
    def total(self) -> int | None:
        """How many rows there are, if that is known before they are read."""
        ...

    def pieces(self, start: int) -> Iterator[Piece]:
        """All rows from one on; none is larger than is good for memory."""
        ...


def chunks(pieces: Iterator[Piece], schema: pa.Schema, rows: int, number: int, start: int) -> Iterator[Chunk]:
    """Pieces put together, or divided, to chunks of so many rows; the last of them may be shorter.

    Args:
        pieces: from the row `start` on.
        schema: of their tables.
        rows: how many a chunk has.
        number: of the first chunk.
        start: its first row.
    """
    held: list[Piece] = []
    count = size = 0
    for whole in pieces:
        piece = whole
        while piece.records:
            taken = piece.part(0, min(rows - count, piece.records))
            held.append(taken)
            count, size = count + taken.records, size + taken.table.nbytes
            piece = piece.part(taken.records, piece.records)
            if count == rows or size >= MAX_CHUNK_BYTES:
                yield _chunk(number, start, held, schema)
                number, start = number + 1, start + count
                held, count, size = [], 0, 0
    if held:
        yield _chunk(number, start, held, schema)


def _chunk(number: int, start: int, pieces: Sequence[Piece], schema: pa.Schema) -> Chunk:
    tables = [piece.table for piece in pieces if piece.table.num_rows]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    return Chunk(number, start, tuple(pieces), table)
