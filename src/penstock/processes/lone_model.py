"""How a process begins that has one model to look at, outside any stack: fetch it, go on in its environment."""

import hashlib
import sys
import traceback
from pathlib import Path

from mlflow.exceptions import MlflowException

from penstock.flavors.pyfunc import one_line, root_cause
from penstock.processes.launch import CheckLaunch, report_failure
from penstock.processes.model_environment import EnvironmentUnusable, settle
from penstock.stores.artifacts import fetch

FAILED, BAD_URI, NOT_FOUND = 1, 2, 4
"""Exit codes, those of commands."""
_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}


def lone_model(launch: CheckLaunch, module: str) -> tuple[Path, str]:
    """The folder of the model that a launch names, and the name of the environment that was built for it.

    Args:
        launch: what this process is told.
        module: what it runs, to be run again if it has to go on with another interpreter.

    Raises:
        SystemExit: the model cannot be had, or not its environment; why has been reported.
    """
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _folder(launch)
    key = hashlib.sha256(launch.uri.encode()).hexdigest()[:32]
    try:
        return folder, settle(launch.environments, folder, key, launch.environment, (module, str(folder)))
    except EnvironmentUnusable as exc:
        report_failure(launch, f"Preparing the environment of {launch.uri} failed: {exc}")
        sys.exit(FAILED)


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
