"""Builds a Python environment with uv, and tells what went wrong in words for people."""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

_CREDENTIALS = re.compile(r"(://)[^/@\s]+@")
_MAX_KEPT_LINES = 400
_MAX_LINE = 2000


class CommandFailed(Exception):
    """A command ended with another exit code than 0; the message is what it printed."""


class Uv:
    """The installer, as it is told to look for packages."""

    def __init__(
        self, cache: Path, variables: Mapping[str, str], wheelhouse: str | None, lock: int | None = None
    ) -> None:
        """Says how uv is to be run.

        Args:
            cache: its cache, unless the variables name another.
            variables: the whole environment of its processes.
            wheelhouse: a folder that is the only place to look at; None for the indexes that the variables name.
            lock: a descriptor that its processes keep open, so that a lock ends with the last of them.
        """
        self._variables = {"UV_CACHE_DIR": str(cache), **variables, "UV_NO_PROGRESS": "1"}
        self._where = () if wheelhouse is None else ("--offline", "--no-index", "--find-links", wheelhouse)
        self._lock = lock

    def find_python(self, version: str, folder: Path) -> str | None:
        """The interpreter of a version, if the machine has one."""
        try:
            arguments = ("python", "find", "--no-python-downloads", "--no-project", version)
            found = self._run(*arguments, folder=folder, is_told=False)
        except CommandFailed:
            return None
        return found[-1] if found else None

    def make(self, folder: Path, python: str) -> None:
        """Make an empty environment.

        Raises:
            CommandFailed: with what uv said.
        """
        options = ("--no-python-downloads", "--no-project", "--python", python)
        self._run("venv", *options, str(folder), folder=folder.parent)

    def install(self, python: Path, packages: Sequence[str], folder: Path) -> None:
        """Install into the environment of an interpreter.

        Args:
            python: the interpreter.
            packages: requirements, and options that name files of them.
            folder: where the command runs.

        Raises:
            CommandFailed: with what uv said.
        """
        self._run("pip", "install", *self._where, "--python", str(python), *packages, folder=folder)

    def _run(self, *arguments: str, folder: Path, is_told: bool = True) -> list[str]:
        command = [_binary(), "--color", "never", *arguments]
        return run(command, folder, self._variables, self._lock, is_told=is_told)


def run(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], lock: int | None = None, *, is_told: bool = True
) -> list[str]:
    """Run a command and wait for it.

    Args:
        command: with its arguments.
        folder: where it runs.
        variables: its whole environment.
        lock: a descriptor that it keeps open.
        is_told: whether what it prints goes to our standard error; credentials in addresses never do.

    Returns:
        The last lines that it printed.

    Raises:
        CommandFailed: with those lines.
    """
    kept: deque[str] = deque(maxlen=_MAX_KEPT_LINES)
    with subprocess.Popen(  # noqa: S603 - uv, or an interpreter that it has made
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=dict(variables),
        pass_fds=() if lock is None else (lock,),
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        for raw in process.stdout:
            line = _CREDENTIALS.sub(r"\1***@", raw.rstrip())[:_MAX_LINE]
            if is_told:
                print(line, file=sys.stderr, flush=True)  # noqa: T201 - into the build log, as it comes
            kept.append(line)
    if process.returncode != 0:
        raise CommandFailed("\n".join(kept))
    return list(kept)


def _binary() -> str:
    from uv import find_uv_bin  # noqa: PLC0415 - absent where a built environment imports this module

    return find_uv_bin()
