"""`penstock faults`: where processes can be made to crash, for tests of what a crash leaves behind."""

from dataclasses import asdict

import typer

from penstock.cli.session import HomeOption, JsonOption, command, print_json, print_table
from penstock.faults import POINTS

app = typer.Typer(no_args_is_help=True, help="Fault points, for tests.")


@app.callback()
def _faults() -> None:
    """Fault points, for tests."""


@app.command("list")
@command
def list_points(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the points that `PENSTOCK_FAULT` may name."""
    del home  # every command takes it
    points = list(POINTS.values())
    if as_json:
        print_json([asdict(point) for point in points])
        return
    print_table(("POINT", "PROCESS", "THERE"), [(point.name, point.process, point.what) for point in points])
