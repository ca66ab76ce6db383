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

from penstock.domain.model_check import ModelCheck, Preflight
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import ExecutorKind
from penstock.domain.served_entity import ModelVersion
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.processes.launch import WorkerLaunch, begin, report_failure, report_ready
from penstock.processes.preflight import CheckFailed, Plan, check_model
from penstock.settings import Home
from penstock.stores.artifacts import fetch_model
from penstock.stores.model_files import read_traits
from penstock.worker.server import Server

_MIN_SAMPLE_TIMEOUT_S = 60.0
"""The example may take as long as a request, and at least this: the first use of a model is its slowest."""

_log = logging.getLogger(__name__)


def main(*, is_forked: bool = False) -> None:
    """Run one replica, in a process that was forked with everything imported or started afresh."""
    started_s = time.perf_counter()
    launch = begin(WorkerLaunch)
    folder, traits = _fetched(launch)
    if traits.is_talking:
        os.environ.update(agent_environment(launch, os.environ))
    spec, own = launch.spec, launch.spec.environment
    executor = ExecutorKind(own.get("PENSTOCK_EXECUTOR", traits.executor))
    plan = Plan(
        folder,
        _named(spec.model),
        traits,
        executor,
        max(spec.request_timeout_s, _MIN_SAMPLE_TIMEOUT_S),
        Preflight(own.get("PENSTOCK_PREFLIGHT", Preflight.FULL)),
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
    _log.info("%s, ready after %.3f s, executor %s, input example: %s", how, elapsed_s, executor, check.sample)
    is_idempotent = own.get("PENSTOCK_IDEMPOTENT", "true" if traits.is_idempotent else "false") == "true"
    report_ready(launch, check)
    listener = socket.socket(fileno=launch.listen_fd)
    Server(listener, predictor.answer, executor, is_idempotent=is_idempotent).run()


def _fetched(launch: WorkerLaunch) -> tuple[Path, ModelTraits]:
    """The model's folder and traits; the process ends here if it cannot be fetched."""
    artifacts, model = Home(Path(launch.home)).artifacts, launch.spec.model
    try:
        with _fetching_with(launch.tracking_token):
            folder = fetch_model(artifacts, model, launch.tracking_uri)
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
