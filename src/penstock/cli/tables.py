"""`penstock tables`: list, show, sql, register, flush, vacuum, relabel. Reading needs no running stack."""

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from penstock.cli.session import (
    NOT_RUNNING,
    SOME_FAILED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    running_stack,
    settings_for,
    stderr,
)
from penstock.client.table_writer import TableWriterUnreachable
from penstock.client.table_writer import flush as flush_spools
from penstock.wire.sockets import SocketFolder
from penstock.wire.tables import TABLES, table_path

app = typer.Typer(no_args_is_help=True, help="Delta tables: what was logged of predictions, and others beside.")

TableArgument = Annotated[
    str, typer.Argument(metavar="TABLE", help="catalog.schema.table; main.default by default.", show_default=False)
]
_STDIN = "-"


def _work() -> ModuleType:
    """What the commands do in this process. It brings DuckDB and Delta: half a second that no other command pays."""
    from penstock.cli import table_work  # noqa: PLC0415 - see above

    return table_work


@app.command("list")
@command
def list_tables(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List tables, and the views that unpack what was logged."""
    tables = _work().listed(home)
    if as_json:
        print_json(tables)
        return
    print_table(("NAME", "KIND", "PATH"), [(t["name"], t["kind"], t["path"]) for t in tables])


@app.command()
@command
def show(name: TableArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show a table's path, version, number of rows and columns; of a view, also what is left out of it."""
    shown = _work().shown(home, name)
    if as_json:
        print_json(shown)
        return
    print_table(("TABLE", shown["name"]), [(key, shown[key]) for key in ("kind", "path", "version", "rows")])
    print_table(("COLUMN", "TYPE"), shown["columns"].items())
    if shown.get("left_out"):
        print_table(("LEFT OUT", "REQUESTS"), shown["left_out"].items())


@app.command()
@command
def sql(
    statement: Annotated[
        str, typer.Argument(help="One SELECT, DESCRIBE or EXPLAIN; '-' reads it from a pipe.", show_default=False)
    ],
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, help="Rows to print; 100 by default, all with --json.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query tables with SQL. Nothing is written."""
    _work().query(home, sys.stdin.read() if statement == _STDIN else statement, limit, as_json=as_json)


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
def flush(
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Seconds to wait.")] = 120,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wait until all that has been logged is in its table."""
    running_stack(home)
    try:
        parked = asyncio.run(flush_spools(SocketFolder(settings_for(home).home.run), timeout)).parked_tables
    except TableWriterUnreachable as exc:
        raise CommandFailed(f"The spool cannot be flushed: {exc}.", NOT_RUNNING) from exc
    except TimeoutError as exc:
        raise CommandFailed(f"The spool was not empty after {timeout:g} s; what it holds is kept.", TIMED_OUT) from exc
    _tell({"flushed": True, "parked": parked}, "All that was logged is in its table.", as_json)
    if parked:
        raise CommandFailed(
            f"These tables take no rows, which are kept until they do: {', '.join(parked)}", SOME_FAILED
        )


@app.command()
@command
def vacuum(
    name: TableArgument,
    retain_hours: Annotated[
        int | None,
        typer.Option(
            "--retain-hours",
            min=0,
            help="Keep what versions of so many hours need; a week by default.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the files of a table that only old versions need."""
    done = _work().vacuumed(home, name, retain_hours, is_dry_run=dry_run)
    _tell(done, f"{'Would delete' if dry_run else 'Deleted'} {done['files']} files of {done['name']}.", as_json)


@app.command()
@command
def relabel(
    name: TableArgument,
    where: Annotated[str, typer.Option("--where", help="A condition in SQL.", show_default=False)] = "",
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id", help="Id of a request, ours or the client's; may be given several times.", show_default=False
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the rows.", show_default=False)] = "",
    to: Annotated[
        str | None, typer.Option("--to", help="The table to write to; TABLE_relabel by default.", show_default=False)
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy rows that are to be labelled anew to a table of their own, each once however often it is flagged."""
    done = _work().relabelled(home, name, where, tuple(ids or ()), reason, to)
    _tell(done, f"{done['flagged']} rows are flagged; {done['added']} of them are new in {done['name']}.", as_json)


def _tell(document: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        stderr.print(text, markup=False)
