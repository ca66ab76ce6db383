"""A Delta table that takes each chunk of rows once, whatever dies in between.

A chunk is one commit that bears the transaction id of its source and the chunk's end as version. The version is read
and the commit made on one handle: if anybody else has committed a chunk of that source in between, the commit fails.
After any failure the table is opened anew and looked at, so that a chunk whose commit succeeded though its writer was
told otherwise is not written again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from penstock.faults import fault_point
from penstock.inference_tables.table_kind import Row, TableKind

_TRIES = 8
"""So often a chunk is tried when others commit at the same time."""
_FOREIGN_ERRORS = (DeltaError, OSError, ValueError, pa.ArrowException)
_FILE_BYTES = 12 << 20
"""A file is in memory as a whole when it is made; the process is to stay below 300 MB whatever bodies are like."""
_GROUP_BYTES = 4 << 20


_A = TypeVar("_A")


class Trouble(Exception):
    """A table does not take rows now; the message says why."""


class Gone(Trouble):
    """A table is not where it was."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a source has brought to a table: everything up to a version."""

    app: str
    version: int


class InferenceTable:
    """One table. Nobody else of ours writes to it."""

    def __init__(self, path: Path, keeps_days: int = 0) -> None:
        """Open nothing yet; rows are kept so many days, 0 for ever."""
        self.path = path
        self.keeps_days = keeps_days
        self._handle: DeltaTable | None = None

    @property
    def id(self) -> str:
        """Delta's id of it.

        Raises:
            Trouble: it cannot be opened.
        """
        return self._asked(lambda handle: str(handle.metadata().id))

    @property
    def exists(self) -> bool:
        """Whether there is a Delta table."""
        return (self.path / "_delta_log").is_dir()

    def create(self, kind: TableKind) -> None:
        """Make an empty one.

        Raises:
            Trouble: it cannot be made.
        """
        try:
            self._handle = DeltaTable.create(
                str(self.path),
                schema=kind.schema,
                mode="error",
                partition_by=[kind.date] if kind.date else None,
                configuration=dict(self._properties(kind)),
            )
        except _FOREIGN_ERRORS as exc:
            raise Trouble(f"it cannot be made: {_told(exc)}") from exc
        fault_point("table-after-create")

    def append(self, kind: TableKind, rows: Sequence[Row], mark: Mark) -> bool:
        """Commit rows once; False if the mark is there already.

        Raises:
            BadRow: a row does not fit; none is committed.
            Trouble: the table does not take them now.
        """
        data = kind.columns(rows)
        failure: Exception | None = None
        for _ in range(_TRIES):
            handle = self.handle()
            if self.version_of(mark.app) >= mark.version:
                return failure is not None
            fault_point("rows-before-commit")
            try:
                write_deltalake(
                    handle,
                    self._fitted(data, handle),
                    mode="append",
                    commit_properties=CommitProperties(app_transactions=[Transaction(mark.app, mark.version)]),
                    writer_properties=_writer(len(rows)),
                )
            except _FOREIGN_ERRORS as exc:
                self.close()
                failure = exc
                if not isinstance(exc, CommitFailedError) and self.version_of(mark.app) < mark.version:
                    raise Trouble(_told(exc)) from exc
                continue
            fault_point("rows-after-commit")
            return True
        raise Trouble(f"others commit to it all the time: {_told(failure)}")

    def version_of(self, app: str) -> int:
        """Up to which version it has what a source brings; -1 if it has nothing.

        Raises:
            Trouble: it cannot be opened.
        """
        version = self._asked(lambda handle: handle.transaction_version(app))
        return -1 if version is None else int(version)

    @property
    def version(self) -> int:
        """Delta's version of it.

        Raises:
            Trouble: it cannot be opened.
        """
        return int(self._asked(lambda handle: handle.version()))

    def _asked(self, question: Callable[[DeltaTable], _A]) -> _A:
        """What the table tells; what has become of it since it was opened is seen at the second attempt."""
        try:
            return question(self.handle())
        except _FOREIGN_ERRORS:
            self.close()
        try:
            return question(self.handle())
        except _FOREIGN_ERRORS as exc:
            self.close()
            raise Trouble(f"it cannot be read: {_told(exc)}") from exc

    def handle(self) -> DeltaTable:
        """The table as it was when it was opened, or as our last commit left it.

        Raises:
            Gone: it is not there.
            Trouble: it cannot be opened.
        """
        if not self.exists:
            self.close()
            raise Gone("it is not where it was")
        if self._handle is None:
            try:
                self._handle = DeltaTable(str(self.path))
            except TableNotFoundError as exc:
                raise Gone("it is not where it was") from exc
            except _FOREIGN_ERRORS as exc:
                raise Trouble(f"it cannot be opened: {_told(exc)}") from exc
        return self._handle

    def refresh(self) -> None:
        """See what others have done to it.

        Raises:
            Trouble: it cannot be read.
        """
        self._asked(lambda handle: handle.update_incremental())

    def close(self) -> None:
        """Open it anew the next time."""
        self._handle = None

    def apply_properties(self, kind: TableKind) -> None:
        """Have it bear the properties that its kind and our settings want.

        Raises:
            Trouble: it cannot be changed.
        """
        wanted = self._properties(kind)
        found = self._asked(lambda handle: handle.metadata().configuration)
        changed = {name: value for name, value in wanted.items() if found.get(name) != value}
        if changed:
            self._tidy(lambda handle: handle.alter.set_table_properties(changed))

    def compact(self) -> None:
        """Make few files of many. What others do to the table at the same time may come in the way; then it stays.

        Raises:
            Trouble: it could not be done.
        """
        files = pa.table(self._asked(lambda handle: handle.get_add_actions()))
        size_bytes, rows = sum(files["size_bytes"].to_pylist()), sum(files["num_records"].to_pylist())
        # A row group is in memory as a whole when it is written.
        group = max(100, min(100_000, _GROUP_BYTES * rows // max(size_bytes, 1)))
        self._tidy(
            lambda handle: handle.optimize.compact(
                target_size=_FILE_BYTES, max_concurrent_tasks=1, writer_properties=_writer(group)
            )
        )

    def clean(self, today: date) -> None:
        """Delete the rows that are kept no longer, then files and log entries that nothing needs.

        Raises:
            Trouble: it could not be done.
        """
        partitions = self._asked(lambda handle: handle.metadata().partition_columns)
        if self.keeps_days and partitions:
            first = today - timedelta(days=self.keeps_days)
            self._tidy(lambda handle: handle.delete(f"{partitions[0]} < '{first.isoformat()}'"))
        self._tidy(lambda handle: handle.vacuum(dry_run=False))
        self._tidy(lambda handle: handle.cleanup_metadata())

    def _tidy(self, work: Callable[[DeltaTable], object]) -> None:
        try:
            work(self.handle())
        except _FOREIGN_ERRORS as exc:
            raise Trouble(_told(exc)) from exc
        finally:
            self.close()

    def _properties(self, kind: TableKind) -> Mapping[str, str]:
        return {
            # What is kept for some days only has rows deleted, which append-only forbids.
            "delta.appendOnly": "false" if self.keeps_days and kind.date else "true",
            "delta.enableChangeDataFeed": "true",
            # By default the least and the greatest body of each file stand in the log, whole, and in our memory.
            "delta.dataSkippingStatsColumns": ",".join(kind.with_statistics),
            "delta.logRetentionDuration": "interval 7 days",
            "delta.setTransactionRetentionDuration": "interval 30 days",
        }

    def _fitted(self, data: pa.Table, handle: DeltaTable) -> pa.Table:
        """Our columns in the table's order; those that somebody has added are null.

        Raises:
            Trouble: a column is missing or has another type.
        """
        schema = pa.schema(handle.schema().to_arrow())
        if schema.names == data.schema.names and all(_same(schema.field(f.name), f) for f in data.schema):
            return data
        for field in data.schema:
            if field.name not in schema.names:
                raise Trouble(f"its column {field.name} is missing")
            if not _same(schema.field(field.name), field):
                got = schema.field(field.name).type
                raise Trouble(f"its column {field.name} is of type {got}; wanted {field.type}")
        for field in schema:
            if field.name not in data.schema.names and not field.nullable:
                raise Trouble(f"its column {field.name}, which is not ours, may not be null")
        columns = [
            data.column(field.name) if field.name in data.schema.names else pa.nulls(len(data), field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, names=schema.names)


def _writer(group_rows: int) -> WriterProperties:
    return WriterProperties(compression="ZSTD", max_row_group_size=group_rows, statistics_truncate_length=64)


def _same(one: pa.Field, other: pa.Field) -> bool:
    return _plain(one.type) == _plain(other.type)


def _plain(kind: pa.DataType) -> object:
    """A type without the names that Arrow gives to what is inside, and without nullability."""
    if pa.types.is_list(kind):
        return "list", _plain(kind.value_type)
    if pa.types.is_map(kind):
        return "map", _plain(kind.key_type), _plain(kind.item_type)
    if pa.types.is_struct(kind):
        return "struct", tuple((field.name, _plain(field.type)) for field in kind)
    return kind


def _told(exc: BaseException | None) -> str:
    """The first line of what went wrong."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:500]
