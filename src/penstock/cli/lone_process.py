"""A process that looks at one model outside any stack: this one imports no model library, and outlives that one."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import msgspec

from penstock.cli.session import NOT_FOUND, USAGE, CommandFailed, running_stack, settings_for
from penstock.processes.environment import environment_settings, lone_environment
from penstock.processes.launch import CheckLaunch
from penstock.settings import Home
from penstock.wire.messages import StatusReport

_OF_A_TRACKING_SERVER = ("models:", "runs:", "mlflow-artifacts:")
_REGISTERED = re.compile(r"models:/+([^/@]+(/[^/@]+|@[^/@]+)|m-[0-9a-f]+)")
"""A version or `latest`, an alias, or the id that MLflow 3 gives a logged model."""
_MAX_TOLD_BYTES = 64 << 10
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True, slots=True)
class LoneEnd:
    """How such a process ended."""

    exit_code: int | None
    """None if it was killed because it took too long."""
    report: StatusReport | None
    """What it reported; None if it died before it could."""

    @property
    def how(self) -> str:
        """The end of one that reported nothing."""
        code = self.exit_code or 0
        return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


@dataclass(frozen=True, slots=True)
class LoneProcess:
    """What is to be run, in a folder that goes when it is done."""

    folder: Path
    _launch: CheckLaunch
    _environment: dict[str, str]
    _status: BinaryIO

    def run(self, module: str, timeout_s: float, *, is_quiet: bool = False) -> LoneEnd:
        """Run it to its end; what it prints goes to standard error, at once, or if it is quiet only when it fails."""
        try:
            if is_quiet:
                exit_code = self._run_quietly(module, timeout_s)
            else:
                exit_code = _run(module, self._launch, self._environment, self.folder, timeout_s, sys.stderr)
        finally:
            os.close(self._launch.status_fd)
        line, _, _ = (self._status.read() or b"").partition(b"\n")
        return LoneEnd(exit_code, msgspec.json.decode(line, type=StatusReport) if line else None)

    def _run_quietly(self, module: str, timeout_s: float) -> int | None:
        with tempfile.TemporaryFile() as printed:
            exit_code = _run(module, self._launch, self._environment, self.folder, timeout_s, printed)
            if exit_code != 0:
                printed.seek(max(printed.seek(0, os.SEEK_END) - _MAX_TOLD_BYTES, 0))
                sys.stderr.write(printed.read().decode(errors="replace"))
        return exit_code


@contextmanager
def lone_process(
    kind: type[CheckLaunch],
    uri: str,
    tracking_uri: str | None,
    environment: Mapping[str, str],
    home: Path | None,
    **more: Any,
) -> Iterator[LoneProcess]:
    """A process that is told to look at a model; `more` is what its kind of launch has beside what every one has.

    Raises:
        CommandFailed: the URI is not in order, there is no such folder, or the model is to be fetched from a stack
            that does not run.
    """
    settings = settings_for(home)
    _check_uri(uri)
    token = None
    if tracking_uri is None and uri.startswith(_OF_A_TRACKING_SERVER):
        stack = running_stack(home)
        tracking_uri, token = stack.local_url, stack.token
    with tempfile.TemporaryDirectory(prefix="penstock-check-", ignore_cleanup_errors=True) as folder:
        status_read, status_write = os.pipe()
        os.set_blocking(status_read, False)  # once the process has ended, what it reported is there
        with open(status_read, "rb") as status:  # noqa: PTH123 - a descriptor
            launch = kind(
                parent_pid=os.getpid(),
                status_fd=status_write,
                home=folder,
                uri=_absolute(uri),
                tracking_uri=tracking_uri if tracking_uri is None else _absolute(tracking_uri),
                tracking_token=token,
                environments=environment_settings(os.environ, settings, _environments(settings.home, Path(folder))),
                environment=dict(environment),
                request_timeout_s=float(
                    environment.get("PENSTOCK_REQUEST_TIMEOUT_S", settings.limits.request_timeout_s)
                ),
                **more,
            )
            variables = lone_environment(os.environ, environment, is_tracking_told=token is not None)
            yield LoneProcess(Path(folder), launch, variables, status)


def _check_uri(uri: str) -> None:
    if uri.startswith("models:") and not _REGISTERED.fullmatch(uri):
        raise CommandFailed(f"URI: got '{uri}'; wanted models:/NAME/VERSION or models:/NAME@ALIAS.", USAGE)
    if not _HAS_SCHEME.match(uri) and not Path(uri).is_dir():
        raise CommandFailed(f"There is no folder '{uri}'.", NOT_FOUND)


def _environments(home: Home, work: Path) -> Path:
    """Where an environment is built if the model needs one: where its deployment will find it, if there is a home."""
    return home.environments if home.path.is_dir() else work / "envs"


def _absolute(uri: str) -> str:
    """A folder by its whole path: the process runs elsewhere, so that whatever a model writes is gone with it."""
    return str(Path(uri).resolve()) if Path(uri).is_dir() else uri


def _run(
    module: str,
    launch: CheckLaunch,
    environment: Mapping[str, str],
    folder: Path,
    timeout_s: float,
    output: IO[Any],
) -> int | None:
    with tempfile.TemporaryFile() as document:
        document.write(msgspec.json.encode(launch))
        document.seek(0)
        process = subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, "-P", "-m", module],
            stdin=document,
            stdout=output,
            stderr=output,
            pass_fds=[launch.status_fd],
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what a model has started ends with its check
        process.wait()
