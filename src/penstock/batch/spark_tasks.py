"""A source in parts that tasks of Spark can take, each by itself."""

from collections.abc import Callable, Iterator, Sequence
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
    source: PinnedSource, borders: Sequence[int], done: int, least_rows: int, count: Callable[[PinnedFile], int]
) -> Iterator[Task]:
    """What is left of a source.

    A task begins where reading can begin: with a row group, or, where there are none because it is text, with a file.

    Args:
        source: as it was pinned.
        borders: rows where reading can begin, and the end; none for text.
        done: how many rows are done.
        least_rows: of a task; row groups that are smaller go together.
        count: tells how many rows a file has.
    """
    if borders:
        yield from _ranges(borders, done, least_rows)
        return
    number = 0
    for at, file in enumerate(source.files):
        skipped = min(done, count(file)) if done else 0
        done -= skipped
        if not done:
            yield Task(number, skipped, file=at)
            number += 1


def _ranges(borders: Sequence[int], done: int, least_rows: int) -> Iterator[Task]:
    number, start, last = 0, done, borders[-1]
    for border in borders:
        if border > start and (border - start >= least_rows or border == last):
            yield Task(number, start, border - start)
            number, start = number + 1, border
