"""The check of one model, in a process of its own: this one imports no model library, and outlives that one."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from penstock.cli.session import FAILED, NOT_FOUND, TIMED_OUT, USAGE, CommandFailed, running_stack, settings_for
from penstock.domain.confinement import MIB
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.model_check import ModelCheck, Sample
from penstock.domain.secrets import reference_in
from penstock.processes.environment import environment_settings, lone_environment
from penstock.processes.launch import CheckLaunch
from penstock.settings import Home
from penstock.wire.messages import StatusReport
from penstock.wire.model_check import encode_check
from penstock.wire.serving_endpoints import check_environment

FINDINGS = ("FINDING", "VALUE")
_OF_A_TRACKING_SERVER = ("models:", "runs:", "mlflow-artifacts:")
_REGISTERED = re.compile(r"models:/+([^/@]+(/[^/@]+|@[^/@]+)|m-[0-9a-f]+)")
"""A version or `latest`, an alias, or the id that MLflow 3 gives a logged model."""
_HAS_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_SAMPLES = {
    Sample.ANSWERED: "answered",
    Sample.FAILED: "failed",
    Sample.NO_EXAMPLE: "there is none",
    Sample.SKIPPED: "not asked: PENSTOCK_PREFLIGHT=load",
    Sample.NOT_REACHED: "not reached: the model did not load",
}
_BRIEFLY = {
    Sample.ANSWERED: "loaded, example answered",
    Sample.FAILED: "loaded, example failed",
    Sample.NO_EXAMPLE: "loaded, has no example",
    Sample.SKIPPED: "loaded",
    Sample.NOT_REACHED: "not loaded",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended."""

    uri: str
    check: ModelCheck | None
    failure: str = ""
    exit_code: int = 0

    @property
    def document(self) -> dict[str, Any]:
        """For `--json`."""
        check = None if self.check is None else encode_check(self.check)
        return {"uri": self.uri, "passed": not self.failure, "message": self.failure, "check": check}


def check_model(
    uri: str, tracking_uri: str | None, variables: Sequence[str], timeout_s: float, home: Path | None
) -> Outcome:
    """Check a model; what it prints goes to standard error.

    Raises:
        CommandFailed: the URI or a variable is not in order, there is no such folder, or the model is to be fetched
            from a stack that does not run.
    """
    settings = settings_for(home)
    environment = _environment(variables)
    _check_uri(uri)
    token = None
    if tracking_uri is None and uri.startswith(_OF_A_TRACKING_SERVER):
        stack = running_stack(home)
        tracking_uri, token = stack.local_url, stack.token
    with tempfile.TemporaryDirectory(prefix="penstock-check-", ignore_cleanup_errors=True) as folder:
        status_read, status_write = os.pipe()
        os.set_blocking(status_read, False)  # once the process has ended, what it reported is there
        with open(status_read, "rb") as status:  # noqa: PTH123 - a descriptor
            launch = CheckLaunch(
                parent_pid=os.getpid(),
                status_fd=status_write,
                home=folder,
                uri=_absolute(uri),
                tracking_uri=tracking_uri if tracking_uri is None else _absolute(tracking_uri),
                tracking_token=token,
                environments=environment_settings(os.environ, settings, _environments(settings.home, Path(folder))),
                environment=environment,
                request_timeout_s=float(
                    environment.get("PENSTOCK_REQUEST_TIMEOUT_S", settings.limits.request_timeout_s)
                ),
            )
            try:
                exit_code = _run(
                    launch,
                    lone_environment(os.environ, environment, is_tracking_told=token is not None),
                    Path(folder),
                    timeout_s,
                )
            finally:
                os.close(status_write)
            return _outcome(uri, exit_code, status.read() or b"", timeout_s)


def findings(check: ModelCheck) -> Iterable[tuple[str, str]]:
    """A check for people, line by line."""
    yield "environment", f"{check.env_manager}: Python {check.python_version}, MLflow {check.mlflow_version}"
    yield "executor", check.executor.value
    yield "load time", f"{check.load_s:.2f} s"
    if check.memory_bytes is not None:
        yield "memory", f"{check.memory_bytes / MIB:.0f} MiB"
    if check.peak_memory_bytes is not None:
        yield "memory at most", f"{check.peak_memory_bytes / MIB:.0f} MiB"
    took = "" if check.sample_ms is None else f" in {check.sample_ms:.0f} ms"
    yield "its input example", f"{_SAMPLES[check.sample]}{took}"
    for problem in check.problems:
        yield "problem", problem


def brief(check: dict[str, Any]) -> str:
    """A check as the API tells it, in a few words."""
    return f"{_BRIEFLY[Sample(check['sample'])]}, {check['load_s']:.1f} s"


def _environment(variables: Sequence[str]) -> dict[str, str]:
    environment = {}
    for text in variables:
        name, separator, value = text.partition("=")
        if not separator:
            raise CommandFailed(f"--env: got '{text}'; wanted NAME=VALUE.", USAGE)
        environment[name] = value
    try:
        check_environment(environment, "--env")
        references = [name for name, value in environment.items() if reference_in(f"--env {name}", value)]
    except InvalidParameterValue as exc:
        raise CommandFailed(exc.message, USAGE) from exc
    if references:
        raise CommandFailed(f"--env {references[0]}: a secret is known to endpoints alone; give its value.", USAGE)
    return environment


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


def _run(launch: CheckLaunch, environment: dict[str, str], folder: Path, timeout_s: float) -> int | None:
    """The exit code of the process that checks; None if it was killed because it took too long."""
    with tempfile.TemporaryFile() as document:
        document.write(msgspec.json.encode(launch))
        document.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "penstock.processes.check"],
            stdin=document,
            stdout=sys.stderr,
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


def _outcome(uri: str, exit_code: int | None, lines: bytes, timeout_s: float) -> Outcome:
    if exit_code is None:
        return Outcome(uri, None, f"The check of {uri} was not done after {timeout_s:g} s.", TIMED_OUT)
    if not lines:
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        return Outcome(uri, None, f"The process that loaded {uri} {how}.", FAILED)
    report = msgspec.json.decode(lines.partition(b"\n")[0], type=StatusReport)
    if report.ready:
        return Outcome(uri, report.check)
    return Outcome(uri, report.check, report.message, exit_code or FAILED)
