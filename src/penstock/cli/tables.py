"""`penstock tables`: list, show, sql, register, vacuum, relabel. Reading needs no running stack."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from penstock.catalog.delta import vacuum as vacuum_table
from penstock.catalog.home import HomeSource
from penstock.catalog.ports import Source
from penstock.catalog.relabel import Flags
from penstock.catalog.relabel import relabel as relabel_rows
from penstock.catalog.stack import TABLES, StackSource, table_path
from penstock.catalog.tables import Tables
from penstock.cli.rows import print_rows, print_rows_as_json
from penstock.cli.session import (
    FAILED,
    NOT_FOUND,
    NOT_RUNNING,
    REFUSED,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    settings_for,
    stderr,
)
from penstock.domain.catalog import Table, TableKind
from penstock.domain.errors import (
    InvalidParameterValue,
    NotSupported,
    PenstockError,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
)
from penstock.settings import Home

app = typer.Typer(no_args_is_help=True, help="Delta tables: what was logged of predictions, and others beside.")

TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="catalog.schema.table; main.default by default.", show_default=False)
]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_EXIT_CODES: tuple[tuple[type[PenstockError], int], ...] = (
    (ResourceDoesNotExist, NOT_FOUND),
    (InvalidParameterValue, USAGE),
    (NotSupported, REFUSED),
    (ResourceConflict, REFUSED),
    (TemporarilyUnavailable, FAILED),
    (PenstockError, FAILED),
)
_FIRST_ROWS = 100
_STDIN = "-"


def _told(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Failures of the catalog, which works in this process, as those of commands."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except PenstockError as exc:
            code = next(code for kind, code in _EXIT_CODES if isinstance(exc, kind))
            raise CommandFailed(f"{exc.error_code}: {exc}", code) from exc

    return run


@app.command("list")
@command
@_told
def list_tables(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List tables, and the views that unpack what was logged."""
    tables = _tables(home).all()
    if as_json:
        print_json([{"name": str(table.name), "kind": table.kind, "path": table.path} for table in tables])
        return
    print_table(("NAME", "KIND", "PATH"), [(table.name, table.kind, _shown_path(table)) for table in tables])


@app.command()
@command
@_told
def show(name: TableArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a table's path, version, number of rows and columns; of a view, also what is left out of it."""
    shown = _tables(home).show(name)
    document = {
        "name": str(shown.name),
        "path": shown.path,
        "version": shown.version,
        "rows": shown.rows,
        "kind": shown.kind,
        "columns": shown.columns,
        **({} if shown.left_out is None else {"left_out": shown.left_out}),
    }
    if as_json:
        print_json(document)
        return
    print_table(("TABLE", str(shown.name)), [(k, document[k]) for k in ("kind", "path", "version", "rows")])
    print_table(("COLUMN", "TYPE"), shown.columns.items())
    if shown.left_out:
        print_table(("LEFT OUT", "REQUESTS"), shown.left_out.items())


@app.command()
@command
@_told
def sql(
    statement: Annotated[
        str, typer.Argument(help="One SELECT, DESCRIBE or EXPLAIN; '-' reads it from a pipe.", show_default=False)
    ],
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Rows to print; 100 by default, all with --json.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query tables with SQL. Nothing is written."""
    rows = _tables(home).sql(sys.stdin.read() if statement == _STDIN else statement)
    if as_json:
        print_rows_as_json(rows.schema, rows.batches, limit)
    else:
        print_rows(rows.schema, rows.batches, _FIRST_ROWS if limit is None else limit)


@app.command()
@command
def register(
    name: TableArgument,
    path: Annotated[
        Path | None, typer.Argument(help="Folder of the Delta table.", metavar="PATH", show_default=False)
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the name from it again; the Delta table stays.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a Delta table that lies elsewhere a name."""
    if (path is None) != remove:
        raise CommandFailed("Give the folder of the Delta table, or --remove; not both.", USAGE)
    api = api_of(home)
    if path is None:
        api.call("DELETE", table_path(name))
        _tell({"removed": name}, f"{name} is no name any more; the Delta table stays.", as_json)
    else:
        table = api.call("POST", TABLES, {"name": name, "path": str(path.expanduser().absolute())})
        _tell(table, f"{table['name']} is {table['path']}", as_json)


@app.command()
@command
@_told
def vacuum(
    name: TableArgument,
    retain_hours: Annotated[
        int | None,
        typer.Option("--retain-hours", min=1, help="Keep what versions of so many hours need; a week by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete files that no version of a table needs any more but old ones."""
    table = _tables(home).get(name)
    if table.kind is TableKind.VIEW:
        raise CommandFailed(f"'{table.name}' is a view; vacuum the table that it is made of.", REFUSED)
    files = vacuum_table(str(table.name), table.path, retain_hours, is_dry_run=dry_run)
    _tell(
        {"name": str(table.name), "files": len(files), "dry_run": dry_run},
        f"{'Would delete' if dry_run else 'Deleted'} {len(files)} files of {table.name}.",
        as_json,
    )


@app.command()
@command
@_told
def relabel(
    name: TableArgument,
    where: Annotated[str, typer.Option("--where", help="A condition in SQL.", show_default=False)] = "",
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", help="Id of a request, ours or the client's; may be given several times."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the rows.", show_default=False)] = "",
    to: Annotated[
        str | None, typer.Option("--to", help="The table to write to; TABLE_relabel by default.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy rows that are to be labelled anew to a table of their own, each once however often it is flagged."""
    done = relabel_rows(_tables(home), _folder(home).warehouse, Flags(name, where, tuple(ids or ()), reason, to))
    _tell(
        {"name": str(done.name), "path": done.path, "flagged": done.flagged, "added": done.added},
        f"{done.flagged} rows are flagged; {done.added} of them are new in {done.name}.",
        as_json,
    )


def _tables(home: Path | None) -> Tables:
    """The tables of the stack that runs on the home, else of the home's files."""
    source: Source
    try:
        source = StackSource(api_of(home))
    except CommandFailed as exc:
        if exc.exit_code != NOT_RUNNING:
            raise
        source = HomeSource.read_only(_folder(home))
    return Tables(source)


def _folder(home: Path | None) -> Home:
    folder = settings_for(home).home
    if not folder.path.is_dir():
        raise CommandFailed(f"There is no home folder {folder.path}; name it with --home.", NOT_FOUND)
    return folder


def _shown_path(table: Table) -> str:
    return "" if table.kind is TableKind.VIEW else table.path


def _tell(document: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        stderr.print(text, markup=False)
