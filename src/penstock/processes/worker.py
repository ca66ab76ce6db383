"""The replica process: fetch the model, load it, serve it."""

import os
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.flavors.pyfunc import load, root_cause
from penstock.processes.launch import WorkerLaunch, begin, report_failure, report_ready
from penstock.settings import Home
from penstock.stores.artifacts import fetch_model
from penstock.worker.server import Scored, Server


def main() -> None:
    """Run one replica."""
    launch = begin(WorkerLaunch)
    model = launch.spec.model
    step = "Fetching"
    try:
        with _fetching_with(launch.tracking_token):
            folder = fetch_model(Home(Path(launch.home)).artifacts, model, launch.tracking_uri)
        step = "Loading"
        predictor = load(folder)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a model's own code may raise anything
        traceback.print_exc()
        report_failure(
            launch,
            f"{step} model '{model.name}' version {model.version} failed: {root_cause(exc)}. "
            "The build log has the traceback.",
        )
        sys.exit(1)

    def score(body: bytes, content_type: str) -> Scored:
        answer = predictor.score(body, content_type)
        return Scored(answer.status, answer.body, answer.content_type)

    report_ready(launch)
    Server(socket.socket(fileno=launch.listen_fd), score).run()


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
