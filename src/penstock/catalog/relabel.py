"""Rows to be labelled anew: copied once each, whoever flags them again, into a table of their own.

What makes a row is its request id, and its position where it has one. The new rows are one commit; a lock lets one
process at a time decide which are new. Whoever labels fills in `relabel_label`, with whatever writes Delta.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from penstock.catalog.engine import literal
from penstock.catalog.tables import Tables, in_sql
from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import InvalidParameterValue, ResourceConflict, TableDoesNotExist, TemporarilyUnavailable
from penstock.domain.table_name import TableName, parse_table_name

SUFFIX = "_relabel"
_KEYS = ("databricks_request_id", "position")


@dataclass(frozen=True, slots=True)
class Flags:
    """Which rows of which table are to be labelled anew, and why."""

    table: str
    where: str = ""
    """A condition in SQL; all rows without one."""
    ids: Sequence[str] = ()
    """Ids of requests, ours or the client's; those of all requests without any."""
    reason: str = ""
    to: str | None = None
    """The table to write to: `<table>_relabel` by default."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What came of it."""

    name: TableName
    path: str
    flagged: int
    """Rows that are flagged."""
    added: int
    """Those of them that were not there yet."""


def relabel(tables: Tables, warehouse: Path, flags: Flags) -> Relabelled:
    """Copy flagged rows to their table, those that are not there yet.

    Raises:
        InvalidParameterValue: neither condition nor ids, a condition that cannot be, or a table without request ids.
        TableDoesNotExist: there is no such table.
        ResourceConflict: the table to write to is none that rows can be added to.
        TemporarilyUnavailable: it cannot be written.
    """
    if not flags.where and not flags.ids:
        raise InvalidParameterValue("where, ids: got neither; wanted a condition, ids, or both.")
    source = tables.get(flags.table)
    name = parse_table_name(flags.to, "to") if flags.to else _beside(source.name)
    if name == source.name:
        raise InvalidParameterValue(f"to: got '{name}', which is the table itself.")
    columns = tables.columns(source.name)
    keys = [key for key in _KEYS if key in columns]
    if _KEYS[0] not in keys:
        raise InvalidParameterValue(f"table: '{source.name}' has no column '{_KEYS[0]}', by which rows are told apart.")
    with _alone(warehouse.joinpath(*name.parts)):
        target = _existing(tables, name)
        flagged = _flagged(source.name, flags, keys)
        new = flagged if target is None else f"({flagged}) ANTI JOIN {in_sql(name)} USING ({', '.join(keys)})"
        counts = tables.numbers(
            f"SELECT (SELECT count(*) FROM ({flagged})) AS flagged, (SELECT count(*) FROM ({_all(new)})) AS added"
        )
        path = str(warehouse.joinpath(*name.parts)) if target is None else target.path
        if counts[1]:
            _append(tables, path, f"SELECT *, {_notes(flags)} FROM ({_all(new)})")
    return Relabelled(name, path, *counts)


def _beside(name: TableName) -> TableName:
    return TableName(name.catalog, name.schema, name.table + SUFFIX)


def _existing(tables: Tables, name: TableName) -> Table | None:
    try:
        target = tables.get(str(name))
    except TableDoesNotExist:
        return None
    if target.kind is TableType.VIEW:
        raise ResourceConflict(f"to: '{name}' is a view; wanted a table, or a name that is free.")
    return target


def _flagged(source: TableName, flags: Flags, keys: Sequence[str]) -> str:
    conditions = [f"{_KEYS[0]} IS NOT NULL"]
    if flags.where:
        conditions.append(f"({flags.where}\n)")
    if flags.ids:
        ids = ", ".join(map(literal, flags.ids))
        conditions.append(f"({_KEYS[0]} IN ({ids}) OR client_request_id IN ({ids}))")
    return f"SELECT DISTINCT ON ({', '.join(keys)}) * FROM {in_sql(source)} WHERE {' AND '.join(conditions)}"


def _all(rows: str) -> str:
    return f"FROM {rows}" if rows.startswith("(") else rows


def _notes(flags: Flags) -> str:
    reason = literal(flags.reason)
    return f"now() AS relabel_flagged_at, {reason} AS relabel_reason, CAST(NULL AS VARCHAR) AS relabel_label"


def _append(tables: Tables, path: str, statement: str) -> None:
    rows = tables.sql(statement)
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.batches)
        write_deltalake(path, reader, mode="append", schema_mode="merge")
    except (DeltaError, OSError) as exc:
        raise TemporarilyUnavailable(f"to: the table in {path} cannot be written: {exc}") from exc


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a table that is written to; it lies beside the table, whose name has no full stop."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = (folder.parent / f".{folder.name}.lock").open("w")
    except OSError as exc:
        raise TemporarilyUnavailable(f"to: {folder} cannot be written: {exc}") from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
