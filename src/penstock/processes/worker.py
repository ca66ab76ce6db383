"""The replica process: fetch the model, load it, serve it."""

import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from penstock.domain.prediction import ExecutorKind
from penstock.faults import fault_point
from penstock.flavors.pyfunc import load, root_cause
from penstock.processes.launch import WorkerLaunch, begin, report_failure, report_ready
from penstock.settings import Home
from penstock.stores.artifacts import fetch_model
from penstock.stores.model_files import read_traits
from penstock.worker.server import Server

_log = logging.getLogger(__name__)


def main(how: str = "started afresh") -> None:
    """Run one replica; `how` its process came to be is told in its build log."""
    started_s = time.perf_counter()
    launch = begin(WorkerLaunch)
    model = launch.spec.model
    artifacts = Home(Path(launch.home)).artifacts
    step = "Fetching"
    try:
        with _fetching_with(launch.tracking_token):
            folder = fetch_model(artifacts, model, launch.tracking_uri)
        traits = read_traits(artifacts, model)
        if traits.is_talking:
            os.environ.update(agent_environment(launch, os.environ))
        step = "Loading"
        predictor = load(folder, traits)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a model's own code may raise anything
        traceback.print_exc()
        report_failure(
            launch,
            f"{step} model '{model.name}' version {model.version} failed: {root_cause(exc)}. "
            "The build log has the traceback.",
        )
        sys.exit(1)

    own = launch.spec.environment
    executor = ExecutorKind(own.get("PENSTOCK_EXECUTOR", traits.executor))
    is_idempotent = own.get("PENSTOCK_IDEMPOTENT", "true" if traits.is_idempotent else "false") == "true"
    _log.info("%s, ready after %.3f s, executor %s", how, time.perf_counter() - started_s, executor)
    fault_point("replica-before-ready")
    report_ready(launch)
    listener = socket.socket(fileno=launch.listen_fd)
    Server(listener, predictor.answer, executor, is_idempotent=is_idempotent).run()


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


@contextmanager
def _fetching_with(token: str | None) -> Iterator[None]:
    """While the model is fetched, and no longer, MLflow's client finds our token in the environment."""
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI")}
    if token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = token
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)


if __name__ == "__main__":
    main()
