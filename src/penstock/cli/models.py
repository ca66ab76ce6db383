"""`penstock models`: what the registry holds, and whether a model can be served."""

from typing import Annotated

import typer

from penstock.cli.model_check import FINDINGS, check_model, findings
from penstock.cli.session import CommandFailed, HomeOption, JsonOption, api_of, command, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Registered models.")


@app.callback()
def _models() -> None:
    """Registered models."""


@app.command("list")
@command
def list_models(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List registered models with their newest version and aliases."""
    models = api_of(home).call("GET", "/api/2.0/penstock/models")["registered_models"]
    rows = [
        {
            "name": model["name"],
            "latest_version": max((int(v["version"]) for v in model.get("latest_versions", [])), default=None),
            "aliases": {alias["alias"]: alias["version"] for alias in model.get("aliases", [])},
        }
        for model in models
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("NAME", "LATEST", "ALIASES"),
        [
            (row["name"], row["latest_version"], ", ".join(f"{a} -> {v}" for a, v in row["aliases"].items()))
            for row in rows
        ],
    )


@app.command()
@command
def check(
    uri: Annotated[
        str,
        typer.Argument(help="models:/NAME/VERSION, models:/NAME@ALIAS, runs:/ID/PATH or a folder.", show_default=False),
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="Where the model is known, if not in the stack that runs on the home."),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", help="NAME=VALUE as in environment_vars; may be given several times.", show_default=False
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for everything.")] = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a model and ask it its own input example, as a replica would before it is ready."""
    outcome = check_model(uri, tracking_uri, env or [], timeout, home)
    if as_json:
        print_json(outcome.document)
    elif outcome.check is not None:
        print_table(FINDINGS, findings(outcome.check))
    if outcome.failure:
        raise CommandFailed(outcome.failure, outcome.exit_code)
