"""The shell around `mlflow server`: starts the real one on a Unix socket and takes it along when it ends.

`mlflow server` starts uvicorn as a child of its own and would leave it behind if it were killed hard. This process
shares a session with both; when it is told to end, or its supervisor dies, it ends the whole session.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from penstock.processes.launch import MlflowLaunch, begin, report_ready
from penstock.runtime.parent import die_with_parent
from penstock.settings import Home
from penstock.wire.sockets import MLFLOW

_CONFINEMENT = {"MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH": "0"}
"""No experiment has a place of its own: MLflow would write its artifacts to any folder that a caller names."""
_POLL_S = 0.05
_GRACE_S = 5


def main() -> None:
    """Run the MLflow server until SIGTERM or its own end."""
    launch = begin(MlflowLaunch, dies_at_once=False)
    signal.signal(signal.SIGALRM, _kill_session)
    signal.signal(signal.SIGTERM, _kill_session)
    die_with_parent(launch.parent_pid, signal.SIGTERM)
    home = Home(Path(launch.home))
    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    # The socket's name is relative to `run`, where this process was started: a long home does not fit an address.
    server = subprocess.Popen(  # noqa: S603 - our own arguments
        [
            *(sys.executable, "-P", "-m", "mlflow", "server"),
            *("--backend-store-uri", f"sqlite:///{home.mlflow_database}"),
            *("--artifacts-destination", str(home.mlflow_artifacts)),
            *("--workers", "1"),
            *("--uvicorn-opts", f"--uds {MLFLOW} --log-level warning"),
        ],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **_CONFINEMENT},
    )

    def end(_signal: int, _frame: object) -> None:
        server.terminate()
        signal.alarm(_GRACE_S if os.getppid() == launch.parent_pid else 1)

    signal.signal(signal.SIGTERM, end)
    while server.poll() is None and not _answers():
        time.sleep(_POLL_S)
    if server.poll() is None:
        report_ready(launch)
    sys.exit(server.wait())


def _answers() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(MLFLOW)
        except OSError:
            return False
        return True


def _kill_session(_signal: int, _frame: object) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
