"""A source in parts that tasks of Spark can take, each by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penstock.batch.pinning import PinnedFile, PinnedSource


@dataclass(frozen=True, slots=True)
class Task:
    """Rows that follow each other: of all of a source, or of one of its files."""

    number: int
    """Its place among the tasks of this session of Spark."""
    start: int
    """Its first row."""
    rows: int | None = None
    """How many; None for all that follow."""
    file: int | None = None
    """The file, by its place; None for the source as a whole."""


def tasks(
    source: PinnedSource, total: int | None, done: int, chunk_rows: int, count: Callable[[PinnedFile], int]
) -> Iterator[Task]:
    """What is left of a source.

    Where rows can be found by their number, a task is a chunk; a text has to be read from its beginning, so there a
    task is a file.

    Args:
        source: as it was pinned.
        total: how many rows it has, where that is known beforehand.
        done: how many of them are done.
        chunk_rows: how many a chunk has.
        count: tells how many rows a file has.
    """
    if total is not None:
        for number, start in enumerate(range(done, total, chunk_rows)):
            yield Task(number, start, min(chunk_rows, total - start))
        return
    number = 0
    for at, file in enumerate(source.files):
        skipped = min(done, count(file)) if done else 0
        done -= skipped
        if not done:
            yield Task(number, skipped, file=at)
            number += 1
