"""The check of one model, as a command asks for it and shows it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.cli.lone_process import LoneEnd, lone_process
from penstock.cli.session import FAILED, TIMED_OUT, USAGE, CommandFailed
from penstock.domain.confinement import MIB
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.model_check import ModelCheck, Sample
from penstock.domain.secrets import reference_in
from penstock.processes.launch import CheckLaunch
from penstock.wire.model_check import encode_check, encode_tier
from penstock.wire.serving_endpoints import check_environment

FINDINGS = ("FINDING", "VALUE")
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
        tier = {} if self.check is None else encode_tier(self.check)
        return {"uri": self.uri, "passed": not self.failure, "message": self.failure, "check": check, **tier}


def check_model(
    uri: str, tracking_uri: str | None, variables: Sequence[str], timeout_s: float, home: Path | None
) -> Outcome:
    """Check a model; what it prints goes to standard error.

    Raises:
        CommandFailed: the URI or a variable is not in order, there is no such folder, or the model is to be fetched
            from a stack that does not run.
    """
    with lone_process(CheckLaunch, uri, tracking_uri, _environment(variables), home) as process:
        return _outcome(uri, process.run("penstock.processes.check", timeout_s), timeout_s)


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


def _outcome(uri: str, end: LoneEnd, timeout_s: float) -> Outcome:
    if end.exit_code is None:
        return Outcome(uri, None, f"The check of {uri} was not done after {timeout_s:g} s.", TIMED_OUT)
    if end.report is None:
        return Outcome(uri, None, f"The process that loaded {uri} {end.how}.", FAILED)
    if end.report.ready:
        return Outcome(uri, end.report.check)
    return Outcome(uri, end.report.check, end.report.message, end.exit_code or FAILED)
