"""What a worker of Spark does: it reads its rows, scores them and writes files, as the local engine does.

Rows never pass through Spark: what comes back of a task is what the journal says of its files.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import msgspec
import pyarrow as pa
from threadpoolctl import threadpool_limits

from penstock.batch.isolation import Scored, Unscorable
from penstock.batch.model import BatchModel, ModelCall
from penstock.batch.pieces import Chunk, Piece, Rows, chunks
from penstock.batch.pinning import open_rows
from penstock.batch.run_folder import Part, RunDocument
from penstock.batch.spark_tasks import Task
from penstock.batch.staging import RowsFailed, Stager, tables_of
from penstock.domain.errors import PenstockError

UNNUMBERED = 1_000_000_000
"""From here on chunks are numbered by whoever makes them; the driver, who knows of all, gives them their numbers."""
_CHUNKS_OF_A_TASK = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """A run, as workers are told of it."""

    document: RunDocument
    call: ModelCall
    given: dict[str, str]
    """The source's columns that the model gets, by what it calls them."""
    source_schema: pa.Schema
    schema: pa.Schema
    """The target's columns."""
    staged: Path


class Outcome(msgspec.Struct):
    """What came of a task."""

    number: int
    parts: list[Part] = []
    failure: str = ""
    """Why the run is to end."""
    is_of_rows: bool = False
    """Whether it is rows that fail."""


def outcomes(work: bytes, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Do tasks; a row of JSON comes and goes for each.

    Args:
        work: a `Work`, pickled.
        batches: tasks.
    """
    worker = _worker(work)
    with threadpool_limits(1):
        for batch in batches:
            done = [msgspec.json.encode(worker.outcome(task)).decode() for task in _tasks(batch)]
            yield pa.RecordBatch.from_arrays([pa.array(done, pa.string())], ["outcome"])


def _tasks(batch: pa.RecordBatch) -> Iterator[Task]:
    for text in batch.column(0).to_pylist():
        yield msgspec.json.decode(text, type=Task)


@lru_cache(maxsize=1)
def _worker(work: bytes) -> "_Worker":
    """One for each process, which loads the model once."""
    return _Worker(pickle.loads(work))  # noqa: S301 - what our own driver sent


class _Worker:
    def __init__(self, work: Work) -> None:
        self._work = work
        tables = tables_of(work.document, work.staged)
        self._stager = Stager(work.document, tables, work.schema, lambda _: None)
        self._opened: tuple[int | None, Rows] | None = None

    @cached_property
    def _model(self) -> BatchModel:
        return BatchModel(self._work.call)

    def outcome(self, task: Task) -> Outcome:
        """Do a task."""
        outcome = Outcome(task.number)
        try:
            for chunk in self._chunks(task):
                outcome.parts.append(self._stager.stage(chunk, self._scored(chunk)))
        except (RowsFailed, Unscorable) as exc:
            outcome.failure, outcome.is_of_rows = str(exc), True
        except (PenstockError, OSError, pa.ArrowException) as exc:
            outcome.failure = str(exc)
        return outcome

    def _chunks(self, task: Task) -> Iterator[Chunk]:
        rows = self._rows(task.file)
        pieces = rows.pieces(task.start)
        number = UNNUMBERED + task.number * _CHUNKS_OF_A_TASK
        yield from chunks(
            pieces if task.rows is None else first_rows(pieces, task.rows),
            rows.schema,
            self._work.document.plan.chunk_rows,
            number,
            task.start,
        )

    def _rows(self, file: int | None) -> Rows:
        """The source, or a file of it; the one that was read last is kept open."""
        if self._opened is None or self._opened[0] != file:
            source = self._work.document.source
            wanted = source if file is None else replace(source, files=(source.files[file],))
            self._opened = file, open_rows(wanted, self._work.source_schema)
        return self._opened[1]

    def _scored(self, chunk: Chunk) -> Scored:
        if not chunk.table.num_rows:
            return Scored(None)
        given = self._work.given
        return self._model.score(chunk.table.select(list(given.values())).rename_columns(list(given)))


def first_rows(pieces: Iterator[Piece], rows: int) -> Iterator[Piece]:
    """So many rows of some pieces."""
    for piece in pieces:
        part = piece.part(0, min(rows, piece.records))
        yield part
        rows -= part.records
        if not rows:
            return
