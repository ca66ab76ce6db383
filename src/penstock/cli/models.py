"""`penstock models`: what the registry holds."""

import typer

from penstock.cli.session import HomeOption, JsonOption, api_of, command, print_json, print_table

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
