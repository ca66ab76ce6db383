"""The local engine: one run from where it stands to its end.

    pieces -> chunks -> the model -> files of rows and of errors -> journal -> commits of several chunks
    (a reader's thread)  (threads or      (this thread, in the order of the chunks)
                          processes)

A chunk is done when the journal tells of its files; it is in the tables when they say so themselves. Killed anywhere, a
run goes on after the last chunk of the journal, and commits what of it the tables have not.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from penstock.batch.casting import not_castable
from penstock.batch.columns import (
    ERROR_SCHEMA,
    Provenance,
    last_of_each,
    output_schema,
    output_table,
    with_all_keys,
)
from penstock.batch.data_files import write_file
from penstock.batch.delta_sink import DeltaSink
from penstock.batch.errors import error_table, failed_rows
from penstock.batch.isolation import Failure, Scored, Unscorable
from penstock.batch.model import BatchModel, ModelCall
from penstock.batch.parquet_sink import ParquetSink
from penstock.batch.pieces import Chunk, Rows, chunks
from penstock.batch.pinning import open_rows
from penstock.batch.plan import Format, Mode, OnError, Plan, output_names, source_columns
from penstock.batch.prefetch import prefetched
from penstock.batch.run_folder import Journal, Part, RunDocument, RunFolder, Summary
from penstock.batch.scorers import ProcessScorer, Scorer, ThreadScorer, scored_chunks
from penstock.batch.sinks import Sink, StagedFile
from penstock.domain.errors import BadRequest, PenstockError, ResourceConflict
from penstock.faults import fault_point
from penstock.flavors.pyfunc import one_line, root_cause

COMMIT_EVERY_S = 5.0
"""Chunks that are done within so many seconds are committed together."""
_MAX_WAITING = 64
"""So many chunks wait for a commit at most."""
_AHEAD = 1
"""Chunks that are read while others are scored."""


class RowsFailed(BadRequest):
    """A row cannot be scored, and the run is to stop then."""


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


@dataclass(frozen=True, slots=True)
class _Tables:
    target: Sink
    errors: Sink


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
        self._provenance = Provenance(document.model, document.run_id)
        self._schema = folder.schema()
        self._tables = _tables_of(folder, document)
        self._journal = _trusted(folder, document, self._tables)
        self._mark_s = self._commit_s = time.monotonic()
        self._before = self._journal.rows_in
        self._output_type: pa.DataType | None = None

    def go(self) -> Summary:
        fault_point("batch-before-work")
        self._commit()
        with threadpool_limits(1):
            self._score_rest()
        self._commit()
        files = [file for part in self._journal.parts if (file := _rows_of(part)) is not None]
        errors = [file for part in self._journal.parts if (file := _errors_of(part)) is not None]
        self._tables.target.finish(files, len(self._journal.parts), self._schema)
        self._tables.errors.finish(errors, len(self._journal.parts), ERROR_SCHEMA)
        fault_point("batch-before-done")
        summary = self._summary()
        self._folder.finish(summary)
        return summary

    def _score_rest(self) -> None:
        plan, journal = self._plan, self._journal
        call = ModelCall(str(self._folder.model), plan.params, plan.has_probabilities)
        model = _loaded(call, self._document)
        self._output_type = model.output_type
        rows = open_rows(self._document.source, model.known_types(plan.columns))
        output_names(plan, rows.schema.names)
        given = source_columns(plan, model.input_names, model.optional_names, rows.schema.names)
        model.check_types(pa.schema([rows.schema.field(at).with_name(name) for name, at in given.items()]))
        if self._schema is not None:
            self._tables.target.prepare(self._schema)
        self._tell(rows)
        scorer, width = _scorer(model, call, plan, rows, self._cores)
        del model
        ahead = chunks(rows.pieces(journal.rows_in), rows.schema, plan.chunk_rows, len(journal.parts), journal.rows_in)

        def select(chunk: Chunk) -> pa.Table:
            return chunk.table.select(list(given.values())).rename_columns(list(given))

        try:
            with prefetched(ahead, _AHEAD) as read, closing(scored_chunks(read, select, scorer, width)) as scored:
                self._stage_all(scored, rows)
        except Unscorable as exc:
            raise RowsFailed(f"The model scores nothing: {exc}") from exc
        except pa.ArrowException as exc:
            raise ResourceConflict(f"source: {self._document.source.path} cannot be read: {exc}") from exc
        finally:
            scorer.close()

    def _stage_all(self, scored: Iterable[tuple[Chunk, Scored]], rows: Rows) -> None:
        for chunk, found in scored:
            part = self._stage(chunk, found)
            fault_point("batch-before-journal")
            self._folder.note_part(part, self._lap_s())
            self._journal.parts.append(part)
            fault_point("batch-after-journal")
            waiting = len(self._journal.parts) - self._journal.committed
            if waiting >= _MAX_WAITING or time.monotonic() - self._commit_s >= COMMIT_EVERY_S:
                self._commit()
            self._tell(rows)

    def _stage(self, chunk: Chunk, scored: Scored) -> Part:
        """Write the files of a chunk."""
        now = datetime.now(UTC)
        table, failures = self._rows(chunk, scored, now)
        failed = failed_rows(chunk, failures)
        if failed and self._plan.on_error is OnError.STOP:
            self._commit()
            raise RowsFailed(f"{failed[0]}; {len(failed)} rows of this chunk cannot be scored. {self._hint()}")
        part = Part(chunk.number, chunk.start, chunk.records, 0, len(failed))
        if table is not None and table.num_rows:
            unique = last_of_each(table, self._plan.target.keys) if self._plan.target.mode is Mode.MERGE else table
            path = self._tables.target.file_of(chunk.number)
            size = write_file(path, unique)
            superseded = table.num_rows - unique.num_rows
            part = replace(part, rows_out=unique.num_rows, rows_superseded=superseded, file=str(path), size_bytes=size)
        if failed:
            self._tables.errors.prepare(ERROR_SCHEMA)
            path = self._tables.errors.file_of(chunk.number)
            size = write_file(path, error_table(failed, self._provenance, now))
            part = replace(part, errors_file=str(path), errors_size_bytes=size)
        return part

    def _rows(self, chunk: Chunk, scored: Scored, now: datetime) -> tuple[pa.Table | None, list[Failure]]:
        """The rows of the target, and those that are not among them."""
        failures = list(scored.failures)
        if scored.columns is None:
            return None, failures
        kept = scored.kept(chunk.table.num_rows)
        table, predicted = chunk.table if kept is None else chunk.table.take(kept), scored.columns
        places = np.arange(table.num_rows) if kept is None else kept
        if self._schema is None:
            self._schema = self._first_schema(table.schema, predicted)
        reasons = self._unfit(table, predicted)
        if reasons:
            failures += [Failure(int(places[at]), reason) for at, reason in reasons.items()]
            fit = pa.array(np.delete(np.arange(table.num_rows), list(reasons)))
            table, predicted = table.take(fit), [column.take(fit) for column in predicted]
        made = self._provenance.columns(table.num_rows, now)
        return output_table(table, predicted, made, self._schema), failures

    def _first_schema(self, source: pa.Schema, predicted: list[pa.Array]) -> pa.Schema:
        """The target's columns, which those of the first chunk decide, and the table for them."""
        types = [column.type for column in predicted]
        if self._output_type is not None and (pa.types.is_integer(types[0]) or pa.types.is_null(types[0])):
            types[0] = self._output_type  # whole numbers may be the first of many that are not
        schema = output_schema(self._plan, source, types)
        self._tables.target.prepare(schema)
        self._folder.note_schema(schema)
        return schema

    def _unfit(self, table: pa.Table, predicted: list[pa.Array]) -> dict[int, str]:
        """Rows that the target does not take, and why."""
        assert self._schema is not None  # noqa: S101 - the first chunk has decided it
        reasons = {}
        keys = self._plan.target.keys
        for unkeyed in np.flatnonzero(~with_all_keys(table, keys)):
            reasons[int(unkeyed)] = f"it has no value for its key ({', '.join(keys)})"
        fields = list(self._schema)[table.num_columns :]
        for column, field in zip(predicted, fields, strict=False):
            if column.type == field.type:
                continue
            for at in not_castable(column, field.type):
                reasons.setdefault(at, f"{field.name}: the model gave {column[at]}; wanted {field.type}")
        return reasons

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
        if files and self._schema is not None:
            self._tables.target.commit(files, len(journal.parts), self._schema)
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


def _tables_of(folder: RunFolder, document: RunDocument) -> _Tables:
    target, places, run_id = document.plan.target, document.places, document.run_id
    if target.format is Format.PARQUET:
        return _Tables(
            ParquetSink(places.target, run_id, target.mode, document.replaced),
            ParquetSink(places.errors, run_id, Mode.APPEND, ()),
        )
    return _Tables(
        DeltaSink(places.target, run_id, target.mode, target.keys, folder.staged / "rows"),
        DeltaSink(places.errors, run_id, Mode.APPEND, (), folder.staged / "errors"),
    )


def _trusted(folder: RunFolder, document: RunDocument, tables: _Tables) -> Journal:
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


def _is_there(document: RunDocument, tables: _Tables) -> bool:
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


def _scorer(model: BatchModel, call: ModelCall, plan: Plan, rows: Rows, cores: int) -> tuple[Scorer, int]:
    """Who scores, and how many chunks at a time."""
    width = plan.processes or cores
    is_short = rows.total is not None and rows.total <= plan.chunk_rows
    if width == 1 or (plan.processes is None and (model.is_light or is_short)):
        return ThreadScorer(model), width if model.is_light else 1
    return ProcessScorer(replace(call, finding=model.finding), width), width
