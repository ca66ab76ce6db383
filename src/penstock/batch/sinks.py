"""Where scored rows go: what every target can do, and which one a run has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class StagedFile:
    """Rows of a chunk in a file that is whole."""

    chunk: int
    path: Path
    size_bytes: int
    rows: int


class Sink(Protocol):
    """A table that takes the rows of each chunk once."""

    def prepare(self, schema: pa.Schema) -> None:
        """See whether rows of these columns can go there; where there is no table yet, an empty one is made.

        Raises:
            InvalidParameterValue: they cannot.
            ResourceConflict: the table cannot be read, or made.
        """
        ...

    def file_of(self, chunk: int) -> Path:
        """Where the rows of a chunk are to be written before they are committed."""
        ...

    def committed(self) -> int:
        """How many chunks, from the first one on, the table has for certain."""
        ...

    def holds(self, file: StagedFile) -> bool:
        """Whether a file is still there as it was written, or its rows are in the table."""
        ...

    def commit(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema) -> None:
        """Have the table take rows, once, whoever has tried before.

        Args:
            files: of chunks that it does not have, in order; those without rows have none.
            chunks: how many it has then, from the first one on.
            schema: of the rows.
        """
        ...

    def finish(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema | None) -> None:
        """All chunks are written: do what is done at the end; again, if it was interrupted.

        Args:
            files: of all chunks that have rows.
            chunks: how many there are.
            schema: of the rows; None if there never were any.
        """
        ...


def is_whole(file: StagedFile, path: Path) -> bool:
    """Whether a file is at a path with all its bytes."""
    try:
        return path.stat().st_size == file.size_bytes
    except OSError:
        return False
