"""`penstock tokens`: create, list, revoke."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from penstock.cli.session import HomeOption, JsonOption, api_of, command, print_json, print_table, stderr

app = typer.Typer(no_args_is_help=True, help="Tokens of principals.")


@app.command()
@command
def create(
    user: Annotated[str, typer.Option("--user", help="The principal that the token stands for.")],
    comment: Annotated[str, typer.Option("--comment", help="What it is for.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a token. It is shown this once and stored as a digest only."""
    token = api_of(home).call("POST", "/api/2.0/penstock/tokens", {"user": user, "comment": comment})
    if as_json:
        print_json(token)
        return
    stderr.print(f"Token {token['id']} for {token['user']}; it is not shown again:")
    print(token["token"])


@app.command("list")
@command
def list_tokens(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List tokens, without their secrets."""
    tokens = api_of(home).call("GET", "/api/2.0/penstock/tokens")["tokens"]
    if as_json:
        print_json(tokens)
        return
    print_table(
        ("ID", "USER", "CREATED", "COMMENT"),
        [
            (
                token["id"],
                token["user"],
                datetime.fromtimestamp(token["created_at_ms"] / 1000, UTC).isoformat(timespec="seconds"),
                token["comment"],
            )
            for token in tokens
        ],
    )


@app.command()
@command
def revoke(
    token_id: Annotated[str, typer.Argument(help="Id of the token, as 'list' shows it.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token. Every gateway refuses it once this has returned."""
    api_of(home).call("DELETE", f"/api/2.0/penstock/tokens/{token_id}")
    if as_json:
        print_json({"revoked": token_id})
    else:
        stderr.print(f"Revoked {token_id}.")
