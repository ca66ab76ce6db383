"""The local engine: one run from where it stands to its end.

    pieces -> chunks -> the model -> files of rows and of errors -> journal -> commits of several chunks
    (a reader's thread)  (threads or      (this thread, in the order of the chunks)
                          processes)

A chunk is done when the journal tells of its files; it is in the tables when they say so themselves. Killed anywhere, a
run goes on after the last chunk of the journal, and commits what of it the tables have not.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
from threadpoolctl import threadpool_limits

from penstock.batch.columns import ERROR_SCHEMA
from penstock.batch.isolation import Scored, Unscorable
from penstock.batch.model import BatchModel, ModelCall
from penstock.batch.pieces import Chunk, Rows, chunks
from penstock.batch.pinning import open_rows
from penstock.batch.plan import Engine, Format, Mode, Plan, output_names, source_columns
from penstock.batch.prefetch import prefetched
from penstock.batch.run_folder import Journal, Part, RunDocument, RunFolder, Summary
from penstock.batch.scorers import ProcessScorer, Scorer, ThreadScorer, scored_chunks
from penstock.batch.sinks import StagedFile
from penstock.batch.spark_engine import spark_parts
from penstock.batch.spark_worker import Work
from penstock.batch.staging import RowsFailed, Stager, Tables, tables_of
from penstock.domain.errors import BadRequest, PenstockError, ResourceConflict
from penstock.faults import fault_point
from penstock.flavors.pyfunc import one_line, root_cause

COMMIT_EVERY_S = 5.0
"""Chunks that are done within so many seconds are committed together."""
_MAX_WAITING = 64
"""So many chunks wait for a commit at most."""
_AHEAD = 1
"""Chunks that are read while others are scored."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    run_id: str
    rows_in: int
    rows_failed: int
    total: int | None
    """None while it is not known."""
    rows_before: int
    """Of `rows_in`, those that were done before it went on."""


OnProgress = Callable[[Progress], None]


def go_on(folder: RunFolder, cores: int, on_progress: OnProgress) -> Summary:
    """Do all that is left of a run.

    Args:
        folder: of the run, which is held.
        cores: of this machine.
        on_progress: told after each chunk.

    Raises:
        RowsFailed: a row cannot be scored, and the run was to stop then.
        PenstockError: source, model or target are not as they must be.
        OSError: a file cannot be written.
    """
    done = folder.summary()
    if done is not None:
        return done
    return _Run(folder, folder.document(), cores, on_progress).go()


class _Run:
    def __init__(self, folder: RunFolder, document: RunDocument, cores: int, on_progress: OnProgress) -> None:
        self._folder = folder
        self._document = document
        self._plan = document.plan
        self._cores = cores
        self._on_progress = on_progress
        self._tables = tables_of(document, folder.staged)
        self._stager = Stager(document, self._tables, folder.schema(), folder.note_schema)
        self._journal = _trusted(folder, document, self._tables)
        self._mark_s = self._commit_s = time.monotonic()
        self._before = self._journal.rows_in

    def go(self) -> Summary:
        fault_point("batch-before-work")
        self._commit()
        with threadpool_limits(1):
            self._score_rest()
        self._commit()
        files = [file for part in self._journal.parts if (file := _rows_of(part)) is not None]
        errors = [file for part in self._journal.parts if (file := _errors_of(part)) is not None]
        self._tables.target.finish(files, len(self._journal.parts), self._stager.schema)
        self._tables.errors.finish(errors, len(self._journal.parts), ERROR_SCHEMA)
        fault_point("batch-before-done")
        summary = self._summary()
        self._folder.finish(summary)
        return summary

    def _score_rest(self) -> None:
        plan = self._plan
        call = ModelCall(str(self._folder.model), plan.params, plan.has_probabilities)
        model = _loaded(call, self._document)
        self._stager.output_type = model.output_type
        rows = open_rows(self._document.source, model.known_types(plan.columns))
        output_names(plan, rows.schema.names)
        given = source_columns(plan, model.input_names, model.optional_names, rows.schema.names)
        model.check_types(pa.schema([rows.schema.field(at).with_name(name) for name, at in given.items()]))
        if self._stager.schema is not None:
            self._tables.target.prepare(self._stager.schema)
        self._tell(rows)
        try:
            if plan.engine is Engine.SPARK:
                self._note_all(self._parts_of_spark(model, call, rows, given), rows)
            else:
                self._note_all(self._parts(model, call, rows, given), rows)
        except Unscorable as exc:
            raise RowsFailed(f"The model scores nothing: {exc}") from exc
        except pa.ArrowException as exc:
            raise ResourceConflict(f"source: {self._document.source.path} cannot be read: {exc}") from exc

    def _parts(self, model: BatchModel, call: ModelCall, rows: Rows, given: Mapping[str, str]) -> Iterator[Part]:
        """All that is left, scored here."""
        scorer, width = _scorer(model, call, self._plan, rows, self._cores)
        del model
        select = partial(_selected, given)
        try:
            with (
                prefetched(self._chunks(rows), _AHEAD) as read,
                closing(scored_chunks(read, select, scorer, width)) as scored,
            ):
                for chunk, found in scored:
                    yield self._staged(chunk, found)
        finally:
            scorer.close()

    def _parts_of_spark(
        self, model: BatchModel, call: ModelCall, rows: Rows, given: Mapping[str, str]
    ) -> Iterator[Part]:
        """All that is left, scored by Spark; but what decides the target's columns is scored here."""
        journal = self._journal
        ahead = self._chunks(rows)
        while self._stager.schema is None and (chunk := next(ahead, None)) is not None:
            yield self._staged(chunk, model.score(_selected(given, chunk)) if chunk.table.num_rows else Scored(None))
        if self._stager.schema is not None and rows.total != journal.rows_in:
            call = replace(call, finding=model.finding)
            staged = self._folder.staged
            work = Work(self._document, call, dict(given), rows.schema, self._stager.schema, staged)
            try:
                yield from spark_parts(work, self._tables, rows.borders, journal.rows_in, len(journal.parts))
            except RowsFailed as exc:
                raise self._ended(exc) from exc

    def _chunks(self, rows: Rows) -> Iterator[Chunk]:
        """What is left."""
        done, number = self._journal.rows_in, len(self._journal.parts)
        return chunks(rows.pieces(done), rows.schema, self._plan.chunk_rows, number, done)

    def _note_all(self, parts: Iterator[Part], rows: Rows) -> None:
        for part in parts:
            fault_point("batch-before-journal")
            self._folder.note_part(part, self._lap_s())
            self._journal.parts.append(part)
            fault_point("batch-after-journal")
            waiting = len(self._journal.parts) - self._journal.committed
            if waiting >= _MAX_WAITING or time.monotonic() - self._commit_s >= COMMIT_EVERY_S:
                self._commit()
            self._tell(rows)

    def _staged(self, chunk: Chunk, scored: Scored) -> Part:
        """Files of a chunk; a row that ends the run does not cost it what was done before."""
        try:
            return self._stager.stage(chunk, scored)
        except RowsFailed as exc:
            raise self._ended(exc) from exc

    def _ended(self, failure: RowsFailed) -> RowsFailed:
        self._commit()
        return RowsFailed(f"{failure} {self._hint()}")

    def _commit(self) -> None:
        """Have the tables take what is staged; errors first, so that a row is never in neither."""
        journal = self._journal
        staged = journal.parts[journal.committed :]
        if not staged:
            return
        errors = [file for part in staged if (file := _errors_of(part)) is not None]
        files = [file for part in staged if (file := _rows_of(part)) is not None]
        if errors:
            self._tables.errors.commit(errors, len(journal.parts), ERROR_SCHEMA)
        if files and self._stager.schema is not None:
            self._tables.target.commit(files, len(journal.parts), self._stager.schema)
        journal.committed = len(journal.parts)
        self._commit_s = time.monotonic()
        self._folder.note_commit(journal.committed, self._lap_s())

    def _lap_s(self) -> float:
        """Seconds since this was asked before."""
        now_s = time.monotonic()
        lap_s, self._mark_s = now_s - self._mark_s, now_s
        self._journal.seconds += lap_s
        return lap_s

    def _tell(self, rows: Rows) -> None:
        journal = self._journal
        run_id = self._document.run_id
        self._on_progress(Progress(run_id, journal.rows_in, journal.rows_failed, rows.total, self._before))

    def _summary(self) -> Summary:
        parts = self._journal.parts
        self._lap_s()
        return Summary(
            self._document.run_id,
            self._journal.rows_in,
            sum(part.rows_out for part in parts),
            self._journal.rows_failed,
            round(self._journal.seconds, 3),
            sum(part.rows_superseded for part in parts),
        )

    def _hint(self) -> str:
        return f"What was scored before is in the target; 'penstock batch resume {self._document.run_id}' tries again."


def _trusted(folder: RunFolder, document: RunDocument, tables: Tables) -> Journal:
    """The journal as far as what it tells of is there.

    Raises:
        ResourceConflict: rows that were committed are not there any more.
    """
    journal = folder.journal()
    is_overwriting = document.plan.target.mode is Mode.OVERWRITE
    first = 0 if is_overwriting else journal.committed
    if first and any(part.file for part in journal.parts[:first]) and not _is_there(document, tables):
        raise ResourceConflict(
            f"target: {document.places.target} does not know of run '{document.run_id}' any more, whose rows it had. "
            "Begin a new run."
        )
    for at, part in enumerate(journal.parts[first:], first):
        rows, errors = _rows_of(part), _errors_of(part)
        if (rows is None or tables.target.holds(rows)) and (errors is None or tables.errors.holds(errors)):
            continue
        journal.parts = journal.parts[:at]
        journal.committed = min(journal.committed, at)
        folder.forget_parts(journal)
        break
    return journal


def _is_there(document: RunDocument, tables: Tables) -> bool:
    if document.plan.target.format is Format.PARQUET:
        return Path(document.places.target).is_dir()
    return tables.target.committed() > 0


def _rows_of(part: Part) -> StagedFile | None:
    return None if part.file is None else StagedFile(part.chunk, Path(part.file), part.size_bytes, part.rows_out)


def _errors_of(part: Part) -> StagedFile | None:
    if part.errors_file is None:
        return None
    return StagedFile(part.chunk, Path(part.errors_file), part.errors_size_bytes, part.rows_failed)


def _loaded(call: ModelCall, document: RunDocument) -> BatchModel:
    """The model.

    Raises:
        BadRequest: its own code fails while it is loaded.
    """
    try:
        return BatchModel(call)
    except PenstockError:
        raise
    except (Exception, SystemExit) as exc:
        raise BadRequest(f"model: {document.plan.model} cannot be loaded: {one_line(root_cause(exc))}") from exc


def _selected(given: Mapping[str, str], chunk: Chunk) -> pa.Table:
    """The columns of a chunk that the model gets, as it calls them."""
    return chunk.table.select(list(given.values())).rename_columns(list(given))


def _scorer(model: BatchModel, call: ModelCall, plan: Plan, rows: Rows, cores: int) -> tuple[Scorer, int]:
    """Who scores, and how many chunks at a time."""
    width = plan.processes or cores
    is_short = rows.total is not None and rows.total <= plan.chunk_rows
    if width == 1 or (plan.processes is None and (model.is_light or is_short)):
        return ThreadScorer(model), width if model.is_light else 1
    return ProcessScorer(replace(call, finding=model.finding), width), width
