"""The process of `penstock models check`: fetch one model, check it as a replica would, report, end."""

import hashlib
import sys
import traceback
from dataclasses import replace
from pathlib import Path

from mlflow.exceptions import MlflowException

from penstock.domain.requirements import unmet
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.processes.check_plan import plan_for
from penstock.processes.launch import CheckLaunch, begin, report_failure, report_ready
from penstock.processes.model_environment import EnvironmentUnusable, installed, settle
from penstock.processes.preflight import CheckFailed, check_model
from penstock.stores.artifacts import fetch
from penstock.stores.model_files import traits_in
from penstock.stores.model_requirements import read_needs

FAILED, BAD_URI, NOT_FOUND = 1, 2, 4
"""Exit codes, those of the command."""
_MODULE = "penstock.processes.check"
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}


def main() -> None:
    """Check what the launch document names."""
    launch = begin(CheckLaunch)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _folder(launch)
    key = hashlib.sha256(launch.uri.encode()).hexdigest()[:32]
    try:
        environment = settle(launch.environments, folder, key, launch.environment, (_MODULE, str(folder)))
    except EnvironmentUnusable as exc:
        report_failure(launch, f"Preparing the environment of {launch.uri} failed: {exc}")
        sys.exit(FAILED)
    plan = plan_for(
        folder,
        launch.uri,
        traits_in(folder),
        launch.environment,
        launch.request_timeout_s,
        python_environment=environment,
    )
    try:
        check = check_model(plan, lambda hung: report_failure(launch, str(hung), hung.check)).check
    except CheckFailed as exc:
        report_failure(launch, str(exc), exc.check)
        sys.exit(FAILED)
    problems = (
        () if environment else tuple(f"Not met here: {text}" for text in unmet(read_needs(folder).lines, installed))
    )
    report_ready(launch, replace(check, problems=(*check.problems, *problems)))


def _folder(launch: CheckLaunch) -> Path:
    """Where the model's files are; the process ends here if they cannot be had."""
    local = Path(launch.uri)
    try:
        folder = (
            local
            if local.is_dir()
            else fetch(launch.uri, Path(launch.home), launch.tracking_uri, launch.tracking_token)
        )
    except Exception as exc:  # noqa: BLE001 - every artifact store has errors of its own
        code = _exit_code(exc)
        if code == FAILED:
            traceback.print_exc()
        report_failure(launch, f"Fetching {launch.uri} failed: {one_line(root_cause(exc))}.")
        sys.exit(code)
    if not (folder / "MLmodel").is_file():
        report_failure(launch, f"{launch.uri}: there is no model: it has no file MLmodel.")
        sys.exit(NOT_FOUND)
    return folder.resolve()


def _exit_code(error: Exception) -> int:
    """What an error of fetching says of the URI; MLflow calls an alias that does not exist an invalid value."""
    if isinstance(error, FileNotFoundError):
        return NOT_FOUND
    if not isinstance(error, MlflowException):
        return FAILED
    if error.error_code in _MISSING or "not found" in error.message:
        return NOT_FOUND
    return BAD_URI if error.error_code == "INVALID_PARAMETER_VALUE" else FAILED


if __name__ == "__main__":
    main()
