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
from penstock.domain.served_entity import ModelVersion, spin_us
from penstock.faults import fault_point
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.flavors.traces import keeps_traces_apart, within_trace
from penstock.processes.check_plan import plan_for
from penstock.processes.launch import WorkerLaunch, begin, forget_instructions, report_failure, report_ready
from penstock.processes.model_environment import EnvironmentUnusable, settle
from penstock.processes.preflight import CheckFailed, check_model
from penstock.runtime.rlimits import confine_this_process
from penstock.settings import Home
from penstock.stores.artifacts import fetch_model
from penstock.stores.model_files import read_traits
from penstock.worker.server import Server

_log = logging.getLogger(__name__)

_MODULE = "penstock.processes.worker"


def main(*, is_forked: bool = False) -> None:
    """Run one replica, in a process that was forked with everything imported or started afresh."""
    started_s = time.perf_counter()
    launch = begin(WorkerLaunch)
    folder, environment, traits = _at_home(launch)
    confine_this_process(launch.spec.confinement)
    if traits.is_talking:
        os.environ.update(agent_environment(launch, os.environ))
    spec, own = launch.spec, launch.spec.environment
    plan = plan_for(
        folder,
        _named(spec.model),
        traits,
        own,
        spec.request_timeout_s,
        python_environment=environment,
        is_forked=is_forked,
        earlier=launch.earlier_check,
    )
    try:
        checked = check_model(
            plan,
            lambda hung: _report(launch, str(hung), hung.check),
            lambda changed: report_ready(launch, changed, environment),
        )
    except CheckFailed as exc:
        _report(launch, str(exc), exc.check)
        sys.exit(1)

    how = "forked" if is_forked else "started afresh"
    elapsed_s = time.perf_counter() - started_s
    where = f"environment {environment}" if environment else "Penstock's own environment"
    check = checked.check
    told = f"executor {plan.executor}, input example: {check.sample}"
    _log.info("%s, ready after %.3f s, %s, %s", how, elapsed_s, told, where)
    _log.info("predict tier %s, batches of up to %d: %s", check.predict_tier, check.batch_limit, check.tier.reason)
    is_idempotent = own.get("PENSTOCK_IDEMPOTENT", "true" if traits.is_idempotent else "false") == "true"
    fault_point("replica-before-ready")
    report_ready(launch, check, environment)
    listener = socket.socket(fileno=launch.listen_fd)
    Server(
        listener,
        checked.predictor.answer,
        plan.executor,
        is_idempotent=is_idempotent,
        batch_model=checked.fast_path,
        spin_us=spin_us(own),
        within=within_trace if keeps_traces_apart() else None,
    ).run()


def _at_home(launch: WorkerLaunch) -> tuple[Path, str, ModelTraits]:
    """The model's folder, the Python environment that it needs and its traits.

    The process ends here if the model cannot be fetched, or its environment cannot be had.
    """
    artifacts, spec = Home(Path(launch.home)).artifacts, launch.spec
    model, named = spec.model, _named(spec.model)
    try:
        folder = fetch_model(artifacts, model, launch.tracking_uri, launch.tracking_token)
    except Exception as exc:  # noqa: BLE001 - every artifact store has errors of its own
        traceback.print_exc()
        _report(launch, f"Fetching {named} failed: {one_line(root_cause(exc))}.")
        sys.exit(1)
    try:
        environment = settle(launch.environments, folder, model.artifact_key, spec.environment, (_MODULE,))
    except EnvironmentUnusable as exc:
        report_failure(launch, f"Preparing the environment of {named} failed: {exc}")
        sys.exit(1)
    forget_instructions()
    return folder, environment, read_traits(artifacts, model)


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
