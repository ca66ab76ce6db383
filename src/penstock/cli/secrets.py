"""`penstock secrets`: scopes, put, list, delete, rotate. No command shows a value."""

import base64
import re
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock.cli.session import (
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    stderr,
)
from penstock.domain.secrets import MAX_VALUE_BYTES

app = typer.Typer(no_args_is_help=True, help="Secrets, which served entities get in their environment.")

ScopeArgument = Annotated[str, typer.Argument(help="Name of the scope.", show_default=False)]
KeyArgument = Annotated[str, typer.Argument(help="Name of the secret in its scope.", show_default=False)]

_PATH = "/api/2.0/secrets"


@app.command()
@command
def scopes(
    create: Annotated[str | None, typer.Option("--create", help="Create a scope of this name.")] = None,
    shared: Annotated[bool, typer.Option("--shared", help="With --create: everybody may manage and use it.")] = False,
    delete: Annotated[str | None, typer.Option("--delete", help="Delete this scope and its secrets.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the scopes that you may manage; or create or delete one."""
    if create is not None and delete is not None:
        raise CommandFailed("--create and --delete came together; give one.", USAGE)
    if shared and create is None:
        raise CommandFailed("--shared came without --create.", USAGE)
    api = api_of(home)
    if create is not None:
        who = {"initial_manage_principal": "users"} if shared else {}
        api.call("POST", f"{_PATH}/scopes/create", {"scope": create, **who})
        _tell({"created": create}, f"Created the scope {create}.", as_json)
    elif delete is not None:
        api.call("POST", f"{_PATH}/scopes/delete", {"scope": delete})
        _tell({"deleted": delete}, f"Deleted the scope {delete} and its secrets.", as_json)
    else:
        found = api.call("GET", f"{_PATH}/scopes/list")["scopes"]
        if as_json:
            print_json(found)
        else:
            print_table(("NAME", "BACKEND"), [(scope["name"], scope["backend_type"]) for scope in found])


@app.command()
@command
def put(
    scope: ScopeArgument,
    key: KeyArgument,
    value: Annotated[
        str | None,
        typer.Option("--value", help="The value. Other users of this machine see it in the list of processes."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a secret, in place of the one that there may be. Its value is asked for, or read from a pipe."""
    api = api_of(home)
    api.call("POST", f"{_PATH}/put", {"scope": scope, "key": key, **_value(value)})
    _tell({"scope": scope, "key": key}, f"Stored; refer to it as {{{{secrets/{scope}/{key}}}}}", as_json)


@app.command("list")
@command
def list_secrets(scope: ScopeArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the secrets of a scope, without their values."""
    found = api_of(home).call("GET", f"{_PATH}/list", query={"scope": scope})["secrets"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("KEY", "UPDATED"),
        [
            (
                secret["key"],
                datetime.fromtimestamp(secret["last_updated_timestamp"] / 1000, UTC).isoformat(timespec="seconds"),
            )
            for secret in found
        ],
    )


@app.command()
@command
def delete(scope: ScopeArgument, key: KeyArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a secret. Configs that use it keep its value until they are updated."""
    api_of(home).call("POST", f"{_PATH}/delete", {"scope": scope, "key": key})
    _tell({"deleted": key, "scope": scope}, f"Deleted {key} of {scope}.", as_json)


@app.command()
@command
def rotate(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Encrypt all secrets with a new key and drop the old one. Nothing is restarted."""
    answer = api_of(home).call("POST", "/api/2.0/penstock/secrets/rotate")
    _tell(answer, f"{answer['values']} values are encrypted with a new key; the old one is gone.", as_json)


def _value(given: str | None) -> dict[str, str]:
    """The field of the request that holds the value."""
    if given is None and sys.stdin.isatty():
        given = typer.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
    if given is not None:
        return {"string_value": given}
    data = re.sub(rb"\r?\n\Z", b"", sys.stdin.buffer.read(MAX_VALUE_BYTES + 3))
    try:
        return {"string_value": data.decode()}
    except UnicodeDecodeError:
        return {"bytes_value": base64.b64encode(data).decode()}


def _tell(document: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        stderr.print(text, markup=False)
