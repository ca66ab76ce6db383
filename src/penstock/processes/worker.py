"""The replica process: fetch the model, load it, serve it."""

import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from penstock.domain.model_check import ModelCheck
from penstock.domain.model_traits import ModelTraits
from penstock.domain.served_entity import ModelVersion
from penstock.faults import fault_point
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.processes.launch import WorkerLaunch, begin, report_failure, report_ready
from penstock.processes.preflight import CheckFailed, check_model, plan_for
from penstock.settings import Home
from penstock.stores.artifacts import fetch_model
from penstock.stores.model_files import read_traits
from penstock.worker.server import Server

_log = logging.getLogger(__name__)


def main(*, is_forked: bool = False) -> None:
    """Run one replica, in a process that was forked with everything imported or started afresh."""
    started_s = time.perf_counter()
    launch = begin(WorkerLaunch)
    folder, traits = _fetched(launch)
    if traits.is_talking:
        os.environ.update(agent_environment(launch, os.environ))
    spec, own = launch.spec, launch.spec.environment
    plan = plan_for(
        folder,
        _named(spec.model),
        traits,
        own,
        spec.request_timeout_s,
        is_forked=is_forked,
        earlier=launch.earlier_check,
    )
    try:
        predictor, check = check_model(plan, lambda hung: _report(launch, str(hung), hung.check))
    except CheckFailed as exc:
        _report(launch, str(exc), exc.check)
        sys.exit(1)

    how = "forked" if is_forked else "started afresh"
    elapsed_s = time.perf_counter() - started_s
    _log.info("%s, ready after %.3f s, executor %s, input example: %s", how, elapsed_s, plan.executor, check.sample)
    is_idempotent = own.get("PENSTOCK_IDEMPOTENT", "true" if traits.is_idempotent else "false") == "true"
    fault_point("replica-before-ready")
    report_ready(launch, check)
    listener = socket.socket(fileno=launch.listen_fd)
    Server(listener, predictor.answer, plan.executor, is_idempotent=is_idempotent).run()


def _fetched(launch: WorkerLaunch) -> tuple[Path, ModelTraits]:
    """The model's folder and traits; the process ends here if it cannot be fetched."""
    artifacts, model = Home(Path(launch.home)).artifacts, launch.spec.model
    try:
        folder = fetch_model(artifacts, model, launch.tracking_uri, launch.tracking_token)
    except Exception as exc:  # noqa: BLE001 - every artifact store has errors of its own
        traceback.print_exc()
        _report(launch, f"Fetching {_named(model)} failed: {one_line(root_cause(exc))}.")
        sys.exit(1)
    return folder, read_traits(artifacts, model)


def _report(launch: WorkerLaunch, message: str, check: ModelCheck | None = None) -> None:
    report_failure(launch, f"{message} The build log has the traceback.", check)


def _named(model: ModelVersion) -> str:
    return f"model '{model.name}' version {model.version}"


def agent_environment(launch: WorkerLaunch, environment: Mapping[str, str]) -> dict[str, str]:
    """What lets an agent call `WorkspaceClient()` and log traces without arguments.

    An entity that says for itself where its workspace or tracking server is keeps to that, and gets no token of ours.
    """
    added: dict[str, str] = {}
    if not any(name.startswith("DATABRICKS_") for name in environment):
        added |= {"DATABRICKS_HOST": launch.url, "DATABRICKS_TOKEN": launch.agent_token}
    if launch.tracking_token is not None and not any(name.startswith("MLFLOW_TRACKING_") for name in environment):
        added |= {"MLFLOW_TRACKING_URI": launch.url, "MLFLOW_TRACKING_TOKEN": launch.agent_token}
    return added


if __name__ == "__main__":
    main()
