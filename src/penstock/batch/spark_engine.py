"""The Spark engine: chunks that Spark's workers read, score and write.

    tasks -> waves of a few for each core -> workers of Spark -> files -> parts of the journal, in order

All else, the journal and what the tables are told, is the local engine's: see `engine`.
"""

import itertools
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from penstock.batch.pinning import PinnedFile, open_rows
from penstock.batch.run_folder import Part
from penstock.batch.spark_tasks import Task, tasks
from penstock.batch.spark_worker import UNNUMBERED, Outcome, Work, outcomes
from penstock.batch.staging import RowsFailed, Tables
from penstock.domain.errors import InternalError, ResourceConflict
from penstock.spark.sessions import session_for

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DIGITS = len(str(UNNUMBERED))
_WAVE = 4
"""Tasks of a wave for each core: parts of a wave are known of when all of it is done."""


def spark_parts(work: Work, tables: Tables, borders: Sequence[int], done: int, first_number: int) -> Iterator[Part]:
    """What is left of a run, done by Spark; parts come in the order of the source.

    Args:
        work: the run.
        tables: where its rows go.
        borders: of the source, see `Rows`.
        done: how many of them are done.
        first_number: of the chunks that come.

    Raises:
        RowsFailed: a row cannot be scored, and the run is to stop then; or none can.
        ResourceConflict: the source cannot be read, or the target takes no rows.
        InternalError: Spark gives up, for instance because a worker died.
        PenstockError: there is no Spark that could; see `session_for`.
    """
    document = work.document
    left = tasks(document.source, borders, done, document.plan.chunk_rows, partial(_count, work))
    number = first_number
    with _tidy(tables), session_for(document.plan.processes) as spark:
        for wave in _waves(left, _WAVE * spark.sparkContext.defaultParallelism):
            for outcome in _done(spark, work, wave):
                for part in outcome.parts:
                    yield _numbered(part, number, done, tables)
                    number, done = number + 1, done + part.records
                if outcome.failure:
                    raise (RowsFailed if outcome.is_of_rows else ResourceConflict)(outcome.failure)


@contextmanager
def _tidy(tables: Tables) -> Iterator[None]:
    """Files that never got a number go: those of a run that was killed, and those of tasks after one that failed."""

    def sweep() -> None:
        for table in (tables.target, tables.errors):
            example = table.file_of(UNNUMBERED)
            for file in example.parent.glob(example.name.replace(str(UNNUMBERED), "[0-9]" * _DIGITS + "*")):
                file.unlink(missing_ok=True)

    sweep()
    try:
        yield
    finally:
        sweep()


def _waves(left: Iterator[Task], size: int) -> Iterator[list[Task]]:
    while wave := list(itertools.islice(left, size)):
        yield wave


def _done(spark: "SparkSession", work: Work, wave: list[Task]) -> list[Outcome]:
    """What came of some tasks, in their order."""
    from pyspark.errors import PySparkException  # noqa: PLC0415 - the extra `spark` has it

    rows = [(msgspec.json.encode(task).decode(),) for task in wave]
    work_of: Callable[..., Iterator[object]] = partial(outcomes, pickle.dumps(work))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")  # none is used here
            frame = spark.createDataFrame(rows, "task string").repartition(len(rows))
            found = frame.mapInArrow(work_of, "outcome string").collect()
    except PySparkException as exc:
        raise InternalError(f"Spark gave up: {_told(exc)}") from exc
    return sorted((msgspec.json.decode(row.outcome, type=Outcome) for row in found), key=lambda o: o.number)


def _numbered(part: Part, number: int, start: int, tables: Tables) -> Part:
    """A part with its number among all, and its files under the names that go with it."""
    file = _renamed(part.file, tables.target.file_of(number))
    errors = _renamed(part.errors_file, tables.errors.file_of(number))
    return replace(part, chunk=number, start=start, file=file, errors_file=errors)


def _renamed(file: str | None, name: Path) -> str | None:
    return None if file is None else str(Path(file).rename(name))


def _count(work: Work, file: PinnedFile) -> int:
    """How many rows a file has, those that cannot be read included."""
    rows = open_rows(replace(work.document.source, files=(file,)), work.source_schema)
    return sum(piece.records for piece in rows.pieces(0))


def _told(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "Error" in line or "xception" in line), lines[0] if lines else "")
