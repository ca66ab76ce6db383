"""A Delta table as a target. Each commit bears the run's transaction id and how many chunks the table then has.

The number is read and the commit made on one handle, so of two processes only one can add a chunk. Files of rows lie in
the table's folder under names of the run before they are committed, where no reader sees them; a plain table is told of
them by a commit of ours (see ADR 0026). A table with partitions, constraints or other features has delta-rs write.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from penstock.batch.columns import last_of_each
from penstock.batch.plan import Mode
from penstock.batch.schemas import check_same
from penstock.batch.sinks import StagedFile, is_whole
from penstock.catalog.warehouse import is_delta
from penstock.domain.errors import InvalidParameterValue, ResourceConflict
from penstock.faults import fault_point

_TRIES = 8
"""So often a commit is tried when others commit at the same time."""
_PLAIN_WRITER_VERSION = 2
_FOREIGN_ERRORS = (DeltaError, OSError, ValueError, pa.ArrowException)


class DeltaSink:
    """A `Sink`."""

    def __init__(self, path: str, run_id: str, mode: Mode, keys: tuple[str, ...], staged: Path) -> None:
        """Open nothing yet.

        Args:
            path: the table's folder.
            run_id: the run's.
            mode: what becomes of the rows that it has.
            keys: for merging.
            staged: where files are kept that do not become the table's own.
        """
        self._path = Path(path)
        self._app = f"penstock-batch-{run_id}"
        self._run_id = run_id
        self._mode = mode
        self._keys = keys
        self._staged = staged
        self._is_direct: bool | None = None

    def prepare(self, schema: pa.Schema) -> None:
        """See `Sink`."""
        table = self._open()
        if table is None:
            if self._path.is_dir() and any(self._path.glob("*.parquet")):
                raise InvalidParameterValue(f"target: {self._path} has Parquet files and is no Delta table.")
            if self._path.exists() and not self._path.is_dir():
                raise InvalidParameterValue(f"target: {self._path} is a file; wanted a folder.")
            self._create(schema)
            return
        if self._mode is not Mode.OVERWRITE:
            check_same(f"target: {self._path}", pa.schema(table.schema().to_arrow()), schema)
        elif table.metadata().partition_columns:
            raise InvalidParameterValue(f"target: {self._path} has partitions; overwriting such a table is not done.")

    def file_of(self, chunk: int) -> Path:
        """See `Sink`."""
        folder = self._path if self._writes_directly() else self._staged
        return folder / f"part-{self._run_id}-{chunk:06d}.parquet"

    def committed(self) -> int:
        """See `Sink`."""
        table = self._open()
        return 0 if table is None else self._committed(table)

    def holds(self, file: StagedFile) -> bool:
        """See `Sink`."""
        return is_whole(file, file.path) or self.committed() > file.chunk

    def commit(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema) -> None:
        """See `Sink`."""
        if self._mode is Mode.OVERWRITE:
            return
        if self._mode is not Mode.MERGE:
            self._add(files, chunks, schema)
            return
        for at, file in enumerate(files):
            # Chunks without rows count as those of the next one that has some.
            self._merge(file, chunks if at == len(files) - 1 else file.chunk + 1, schema)

    def finish(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema | None) -> None:
        """See `Sink`."""
        if self._mode is Mode.OVERWRITE:
            table = self._open()
            if schema is None and table is not None:
                schema = pa.schema(table.schema().to_arrow())
            if schema is not None:
                self._add(files, max(chunks, 1), schema)
        shutil.rmtree(self._staged, ignore_errors=True)

    def _add(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema) -> None:
        mode = "overwrite" if self._mode is Mode.OVERWRITE else "append"
        is_direct = self._writes_directly()

        def write(table: DeltaTable, done: CommitProperties) -> None:
            new = [file for file in files if file.chunk >= self._committed(table)]
            if is_direct:
                actions = [_add_action(file) for file in new]
                table.create_write_transaction(actions, mode, schema, commit_properties=done)
            else:
                rows = ds.dataset([str(file.path) for file in new], schema=schema)
                write_deltalake(table, rows.scanner().to_reader(), mode="append", commit_properties=done)

        if files or mode == "overwrite":
            self._once(chunks, schema, write)

    def _merge(self, file: StagedFile, chunks: int, schema: pa.Schema) -> None:
        def write(table: DeltaTable, done: CommitProperties) -> None:
            rows = last_of_each(pq.read_table(file.path, partitioning=None).cast(schema), self._keys)
            same = " AND ".join(f'target."{key}" = source."{key}"' for key in self._keys)
            merger = table.merge(rows, same, source_alias="source", target_alias="target", commit_properties=done)
            merger.when_matched_update_all().when_not_matched_insert_all().execute()

        self._once(chunks, schema, write)

    def _once(self, chunks: int, schema: pa.Schema, write: Callable[[DeltaTable, CommitProperties], None]) -> None:
        """Make a commit that brings the table to so many chunks, unless it has them.

        Raises:
            ResourceConflict: the table does not take them.
        """
        failure: Exception | None = None
        for attempt in range(_TRIES):
            try:
                table = self._existing()
                if self._committed(table) >= chunks:
                    return
                done = CommitProperties(
                    custom_metadata={"penstock.run_id": self._run_id},
                    app_transactions=[Transaction(self._app, chunks)],
                )
                fault_point("batch-before-commit")
                write(table, done)
            except _FOREIGN_ERRORS as exc:
                failure = exc
                if not isinstance(exc, CommitFailedError) and self.committed() < chunks:
                    raise ResourceConflict(f"target: {self._path} takes no rows: {_told(exc)}") from exc
                time.sleep(0.05 * 2**attempt)
                continue
            fault_point("batch-after-commit")
            return
        raise ResourceConflict(f"target: others commit to {self._path} all the time: {_told(failure)}")

    def _create(self, schema: pa.Schema) -> None:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            DeltaTable.create(str(self._path), schema=schema, mode="ignore")
        except _FOREIGN_ERRORS as exc:
            raise ResourceConflict(f"target: no Delta table can be made in {self._path}: {_told(exc)}") from exc
        fault_point("batch-after-create")

    def _existing(self) -> DeltaTable:
        table = self._open()
        if table is None:
            raise ResourceConflict(f"target: the Delta table in {self._path} is gone.")
        return table

    def _committed(self, table: DeltaTable) -> int:
        version = table.transaction_version(self._app)
        return 0 if version is None else int(version)

    def _open(self) -> DeltaTable | None:
        if not is_delta(self._path):
            return None
        try:
            return DeltaTable(str(self._path))
        except TableNotFoundError:
            return None
        except _FOREIGN_ERRORS as exc:
            raise ResourceConflict(f"target: the Delta table in {self._path} cannot be read: {_told(exc)}") from exc

    def _writes_directly(self) -> bool:
        """Whether files of ours become the table's own."""
        if self._is_direct is None:
            self._is_direct = self._mode is not Mode.MERGE and _is_plain(self._open())
        return self._is_direct


def _is_plain(table: DeltaTable | None) -> bool:
    """Whether a table wants nothing of its files but its columns."""
    if table is None:
        return True
    protocol, metadata = table.protocol(), table.metadata()
    return (
        protocol.min_writer_version <= _PLAIN_WRITER_VERSION
        and not metadata.partition_columns
        and not any(name.startswith(("delta.constraints", "delta.columnMapping")) for name in metadata.configuration)
        and all(field.nullable for field in table.schema().fields)
        and "invariants" not in table.schema().to_json()
    )


def _add_action(file: StagedFile) -> AddAction:
    return AddAction(
        file.path.name,
        file.size_bytes,
        {},
        int(file.path.stat().st_mtime * 1000),
        True,
        json.dumps({"numRecords": file.rows}),
    )


def _told(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
