"""`penstock principals`: who there is, and in which groups."""

from typing import Annotated
from urllib.parse import quote

import typer

from penstock.cli.session import HomeOption, JsonOption, api_of, command, print_json, print_table, stderr

app = typer.Typer(no_args_is_help=True, help="Principals and their groups.")

_PATH = "/api/2.0/penstock/principals"


@app.command("list")
@command
def list_principals(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List principals with their groups."""
    principals = api_of(home).call("GET", _PATH)["principals"]
    if as_json:
        print_json(principals)
        return
    print_table(("NAME", "GROUPS"), [(p["name"], ", ".join(p["groups"])) for p in principals])


@app.command("set")
@command
def set_groups(
    name: Annotated[str, typer.Argument(help="Name of the principal.")],
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A group; may be given several times. None takes all away.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a principal into these groups and no others; members of `admins` may manage everything."""
    principal = api_of(home).call("PUT", f"{_PATH}/{quote(name, safe='')}", {"groups": group or []})
    if as_json:
        print_json(principal)
    else:
        stderr.print(f"{principal['name']}: {', '.join(principal['groups']) or 'no groups'}", markup=False)
