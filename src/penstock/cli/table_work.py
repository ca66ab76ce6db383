"""What commands of `penstock tables` do in their own process, with DuckDB and Delta."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock.catalog.delta import vacuum
from penstock.catalog.ports import Source
from penstock.catalog.relabel import Flags, relabel
from penstock.catalog.stack import StackSource
from penstock.catalog.tables import Tables
from penstock.cli.rows import print_rows, print_rows_as_json
from penstock.cli.session import (
    FAILED,
    NOT_FOUND,
    NOT_RUNNING,
    REFUSED,
    USAGE,
    CommandFailed,
    api_of,
    settings_for,
)
from penstock.domain.catalog import TableType
from penstock.domain.errors import (
    InvalidParameterValue,
    NotSupported,
    PenstockError,
    ResourceConflict,
    ResourceDoesNotExist,
)
from penstock.settings import Home

Json = dict[str, Any]

_FIRST_ROWS = 100
_EXIT_CODES: tuple[tuple[type[PenstockError], int], ...] = (
    (ResourceDoesNotExist, NOT_FOUND),
    (InvalidParameterValue, USAGE),
    (NotSupported, REFUSED),
    (ResourceConflict, REFUSED),
    (PenstockError, FAILED),
)


def listed(home: Path | None) -> list[Json]:
    """All tables and views."""
    with _told():
        tables = _tables(home).all()
    return [{"name": str(table.name), "kind": table.kind.value, "path": table.path} for table in tables]


def shown(home: Path | None, name: str) -> Json:
    """What there is to say of one table."""
    with _told():
        found = _tables(home).show(name)
    document = {
        "name": str(found.name),
        "path": found.path,
        "version": found.version,
        "rows": found.rows,
        "kind": found.kind.value,
        "columns": found.columns,
    }
    return document if found.left_out is None else {**document, "left_out": found.left_out}


def query(home: Path | None, statement: str, limit: int | None, *, as_json: bool) -> None:
    """Print what a statement gives."""
    with _told():
        rows = _tables(home).sql(statement)
        if as_json:
            print_rows_as_json(rows.schema, rows.batches, limit)
        else:
            print_rows(rows.schema, rows.batches, _FIRST_ROWS if limit is None else limit)


def vacuumed(home: Path | None, name: str, retain_hours: int | None, *, is_dry_run: bool) -> Json:
    """Delete the files of a table that only old versions need."""
    with _told():
        table = _tables(home).get(name)
        if table.kind is TableType.VIEW:
            raise ResourceConflict(f"'{table.name}' is a view; vacuum the table that it is made of.")
        files = vacuum(str(table.name), table.path, retain_hours, is_dry_run=is_dry_run)
    return {"name": str(table.name), "files": len(files), "dry_run": is_dry_run}


def relabelled(home: Path | None, name: str, where: str, ids: Sequence[str], reason: str, to: str | None) -> Json:
    """Copy rows that are to be labelled anew."""
    with _told():
        done = relabel(_tables(home), _folder(home).warehouse, Flags(name, where, ids, reason, to))
    return {"name": str(done.name), "path": done.path, "flagged": done.flagged, "added": done.added}


def _tables(home: Path | None) -> Tables:
    """The tables of the stack that runs on the home, else of the home's files."""
    source: Source
    try:
        source = StackSource(api_of(home))
    except CommandFailed as exc:
        if exc.exit_code != NOT_RUNNING:
            raise
        from penstock.catalog.home import HomeSource  # noqa: PLC0415 - it brings SQL, which a stack has already

        source = HomeSource.read_only(_folder(home))
    return Tables(source)


def _folder(home: Path | None) -> Home:
    folder = settings_for(home).home
    if not folder.path.is_dir():
        raise CommandFailed(f"There is no home folder {folder.path}; name it with --home.", NOT_FOUND)
    return folder


@contextmanager
def _told() -> Iterator[None]:
    """Failures of the catalog as those of commands."""
    try:
        yield
    except PenstockError as exc:
        code = next(code for kind, code in _EXIT_CODES if isinstance(exc, kind))
        raise CommandFailed(f"{exc.error_code}: {exc}", code) from exc
