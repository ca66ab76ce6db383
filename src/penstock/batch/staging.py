"""What becomes of scored chunks: a file of the target's rows, and one of those that have no prediction.

Whoever scores writes them, this process or a worker of Spark. Tables are told of them later, see `engine`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

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
from penstock.batch.isolation import Failure, Scored
from penstock.batch.parquet_sink import ParquetSink
from penstock.batch.pieces import Chunk
from penstock.batch.plan import Format, Mode, OnError
from penstock.batch.run_folder import Part, RunDocument
from penstock.batch.sinks import Sink
from penstock.domain.errors import BadRequest


class RowsFailed(BadRequest):
    """A row cannot be scored, and the run is to stop then."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Where the rows of a run go."""

    target: Sink
    errors: Sink


class Stager:
    """Writes the files of a run's chunks."""

    def __init__(
        self,
        document: RunDocument,
        tables: Tables,
        schema: pa.Schema | None,
        note_schema: Callable[[pa.Schema], None],
    ) -> None:
        """Write nothing yet.

        Args:
            document: what the run is to do.
            tables: where its rows go.
            schema: the target's columns; None while no chunk has decided them.
            note_schema: told of them when one has.
        """
        self._plan = document.plan
        self._provenance = Provenance(document.model, document.run_id)
        self._tables = tables
        self._note_schema = note_schema
        self.schema = schema
        """The target's columns."""
        self.output_type: pa.DataType | None = None
        """Of the prediction, where the signature tells of one number."""

    def stage(self, chunk: Chunk, scored: Scored) -> Part:
        """Write the files of a chunk.

        Raises:
            RowsFailed: a row cannot be scored, and the run is to stop then.
            PenstockError: the target does not take such rows.
            OSError: a file cannot be written.
        """
        now = datetime.now(UTC)
        table, failures = self._rows(chunk, scored, now)
        failed = failed_rows(chunk, failures)
        if failed and self._plan.on_error is OnError.STOP:
            raise RowsFailed(f"{failed[0]}; {len(failed)} rows of this chunk cannot be scored.")
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
        if self.schema is None:
            self.schema = self._first_schema(table.schema, predicted)
        reasons = self._unfit(table, predicted)
        if reasons:
            failures += [Failure(int(places[at]), reason) for at, reason in reasons.items()]
            fit = pa.array(np.delete(np.arange(table.num_rows), list(reasons)))
            table, predicted = table.take(fit), [column.take(fit) for column in predicted]
        made = self._provenance.columns(table.num_rows, now)
        return output_table(table, predicted, made, self.schema), failures

    def _first_schema(self, source: pa.Schema, predicted: list[pa.Array]) -> pa.Schema:
        """The target's columns, which those of the first chunk decide, and the table for them."""
        types = [column.type for column in predicted]
        if self.output_type is not None and (pa.types.is_integer(types[0]) or pa.types.is_null(types[0])):
            types[0] = self.output_type  # whole numbers may be the first of many that are not
        schema = output_schema(self._plan, source, types)
        self._tables.target.prepare(schema)
        self._note_schema(schema)
        return schema

    def _unfit(self, table: pa.Table, predicted: list[pa.Array]) -> dict[int, str]:
        """Rows that the target does not take, and why."""
        assert self.schema is not None  # noqa: S101 - the first chunk has decided it
        reasons = {}
        keys = self._plan.target.keys
        for unkeyed in np.flatnonzero(~with_all_keys(table, keys)):
            reasons[int(unkeyed)] = f"it has no value for its key ({', '.join(keys)})"
        fields = list(self.schema)[table.num_columns :]
        for column, field in zip(predicted, fields, strict=False):
            if column.type == field.type:
                continue
            for at in not_castable(column, field.type):
                reasons.setdefault(at, f"{field.name}: the model gave {column[at]}; wanted {field.type}")
        return reasons


def tables_of(document: RunDocument, staged: Path) -> Tables:
    """The tables of a run; what is to be merged lies in the folder `staged` before."""
    target, places, run_id = document.plan.target, document.places, document.run_id
    if target.format is Format.PARQUET:
        return Tables(
            ParquetSink(places.target, run_id, target.mode, document.replaced),
            ParquetSink(places.errors, run_id, Mode.APPEND, ()),
        )
    return Tables(
        DeltaSink(places.target, run_id, target.mode, target.keys, staged / "rows"),
        DeltaSink(places.errors, run_id, Mode.APPEND, (), staged / "errors"),
    )
