"""What every command shares: which stack, how to print, and how failures become exit codes.

Exit codes: 0 done, 1 failed, 2 usage, 3 not running or unreachable, 4 not found, 5 refused or conflict, 6 timed out,
7 finished, but something of it failed.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock.client.api import ApiClient, ApiError, Unreachable
from penstock.runtime.lock import is_locked
from penstock.runtime.machine import this_machine
from penstock.settings import BadSetting, Settings, read_settings

FAILED, USAGE, NOT_RUNNING, NOT_FOUND, REFUSED, TIMED_OUT, SOME_FAILED = 1, 2, 3, 4, 5, 6, 7
INTERRUPTED = 130

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The home folder; $PENSTOCK_HOME, else ./.penstock.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]

_WIDTH_OF_NO_TERMINAL = 200
stderr = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDTH_OF_NO_TERMINAL)
stdout = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_NO_TERMINAL)

_P = ParamSpec("_P")
_R = TypeVar("_R")


class CommandFailed(Exception):
    """A command cannot do what it was asked for."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class RunningStack:
    """What a running stack wrote about itself."""

    url: str
    local_url: str
    """The same stack for commands on this machine, without TLS."""
    pid: int
    mlflow_url: str
    token: str
    limits: str
    """How the limits of replicas are kept."""
    gpus: tuple[str, ...]
    """The devices that replicas are given."""


def settings_for(home: Path | None) -> Settings:
    """Settings from the environment, with the home of the command line.

    Raises:
        CommandFailed: a variable holds what it may not.
    """
    environment = dict(os.environ)
    if home is not None:
        environment["PENSTOCK_HOME"] = str(home)
    try:
        return read_settings(environment, this_machine())
    except BadSetting as exc:
        raise CommandFailed(str(exc), USAGE) from exc


def running_stack(home: Path | None) -> RunningStack:
    """The stack that runs on a home.

    Raises:
        CommandFailed: none does.
    """
    folder = settings_for(home).home
    try:
        if not is_locked(folder.lock_file):
            raise ProcessLookupError("nobody holds the lock")
        document = json.loads(folder.status_file.read_text())
        token = folder.token_file.read_text().strip()
    except (OSError, ValueError) as exc:
        raise CommandFailed(
            f"No stack runs on {folder.path}. Start one with 'penstock up', or name its home with --home.",
            NOT_RUNNING,
        ) from exc
    return RunningStack(
        url=document["url"],
        local_url=document["local_url"],
        pid=document["pid"],
        mlflow_url=document["mlflow_url"],
        token=token,
        limits=document["limits"],
        gpus=tuple(document["gpus"]),
    )


def api_of(home: Path | None) -> ApiClient:
    """A client of the stack that runs on a home."""
    stack = running_stack(home)
    return ApiClient(stack.local_url, stack.token)


def command(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn failures into one line on standard error and an exit code."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except CommandFailed as exc:
            code, message = exc.exit_code, str(exc)
        except Unreachable as exc:
            code, message = NOT_RUNNING, str(exc)
        except ApiError as exc:
            code, message = _exit_code(exc), f"{exc.error_code}: {exc}"
        except BrokenPipeError:
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        stderr.print(Text.assemble(("Error: ", "bold red"), message), soft_wrap=True)
        sys.exit(code)

    return run


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table on standard output."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    stdout.print(table)


def _exit_code(error: ApiError) -> int:
    match error.status:
        case 404:
            return NOT_FOUND
        case 503:
            return NOT_RUNNING
        case 504:
            return TIMED_OUT
        case status if status < 500:  # noqa: PLR2004
            return REFUSED
        case _:
            return FAILED
