"""The command line: `penstock` and its commands, one file per noun.

A file is imported when its command is asked for: all of them together take longer than most commands.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

_COMMANDS = {
    "up": "stack.up",
    "quickstart": "quickstart.quickstart",
    "stop": "stack.stop",
    "status": "stack.status",
    "ps": "stack.ps",
    "env": "stack.env",
    "login": "login.login",
    "doctor": "stack.doctor",
    "backup": "backup.backup",
    "restore": "backup.restore",
    "bench": "bench.bench",
    "version": "stack.show_version",
    "apply": "apply.apply",
    "export": "apply.export",
    "endpoints": "history.app",  # which adds to that of `endpoints`
    "models": "models.app",
    "tokens": "tokens.app",
    "principals": "principals.app",
    "secrets": "secrets.app",
    "tables": "tables.app",
    "batch": "batch.app",
    "jobs": "jobs.app",
    "feedback": "feedback.app",
    "autoscaler": "autoscaler.app",
    "faults": "faults.app",
}
"""In the order of the help: each a function of a file beside this one, or the `app` with the commands of a noun."""


class _OnDemand(Mapping[str, Any]):
    """Commands by name."""

    def __getitem__(self, name: str) -> Any:
        file, _, attribute = _COMMANDS[name].partition(".")
        found = getattr(import_module(f"penstock.cli.{file}"), attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = name
            return group
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(name)(found)
        return get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Commands(TyperGroup):
    """All commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _OnDemand()  # type: ignore[assignment]  # nobody changes it


app = typer.Typer(
    name="penstock", cls=_Commands, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False
)


@app.callback()
def penstock() -> None:
    """The open serving layer for MLflow, speaking Databricks Model Serving's own API."""


def main() -> None:
    """Entry point of the `penstock` script."""
    app()
