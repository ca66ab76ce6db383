"""The servers that are compared, each as it is started for one model: one worker process, one computing thread."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparing.environments import Unavailable
from penstock.client.load.probe import Unanswered, ask_once
from penstock.client.load.target import Target, target_of

SCRIPTS = Path(__file__).parents[1] / "peers"
_BATCH = 64
_START_TIMEOUT_S = 120.0
_ASK_AGAIN_S = 0.2
_OK = 200
_JSON = {"content-type": "application/json"}
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
)
"""As replicas of ours have it; with more, a row costs these servers more, too."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers for one model."""

    target: Target
    headers: Mapping[str, str]
    pids: Callable[[], Sequence[int]]
    """The processes whose families are all of it."""
    unrelated_pids: Callable[[], Sequence[int]] = tuple
    """Processes among these that hold memory for something else."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a server of somebody else's is started for one model."""

    command: Sequence[str]
    path: str = "/invocations"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is compared with ours."""

    what: str
    packages: tuple[str, ...]
    start: Callable[[Path, str, Path, int, Path], Start]
    """Given its interpreter, the kind of the model, its folder, a port, and a folder for files."""


@contextmanager
def served_by(peer: Peer, python: Path, kind: str, model: Path, work: Path, body: bytes) -> Iterator[Served]:
    """A server of this peer while the block runs, from when it answers a body.

    Raises:
        Unavailable: it does not come up; with the end of what it printed.
    """
    port = _free_port()
    work.mkdir(parents=True, exist_ok=True)
    start = peer.start(python, kind, model, port, work)
    log = work / "log"
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            start.command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=work,
            env={**kept, **_ONE_THREAD, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **start.variables},
            start_new_session=True,
        )
    target = target_of(f"http://127.0.0.1:{port}{start.path}")
    try:
        _wait_until_it_answers(process, target, body, log)
        yield Served(target, _JSON, lambda: [process.pid])
    finally:
        _end(process)


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", target: Target, body: bytes, log: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise Unavailable(f"it ended with exit code {process.returncode}:\n{_tail(log)}")
        try:
            answer = ask_once(target, body, _JSON, 5)
            if answer.status == _OK:
                return
            seen = f"it answers {answer.status}: {answer.body[:300].decode(errors='replace')}"
        except Unanswered as exc:
            seen = str(exc)
        time.sleep(_ASK_AGAIN_S)
    raise Unavailable(f"{seen}, after {_START_TIMEOUT_S:g} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-12:])


def _end(process: "subprocess.Popen[bytes]") -> None:
    for how, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, how)
            process.wait(patience_s)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _mlflow(python: Path, _kind: str, model: Path, port: int, _work: Path) -> Start:
    options = ("--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    return Start([str(python.with_name("mlflow")), "models", "serve", "--model-uri", str(model), *options])


def _fastapi(python: Path, _kind: str, model: Path, port: int, _work: Path) -> Start:
    return Start([str(python), str(SCRIPTS / "fastapi_natural.py"), str(model), str(port)])


def _mosec(script: str, batch: int) -> Callable[[Path, str, Path, int, Path], Start]:
    def start(python: Path, kind: str, model: Path, port: int, _work: Path) -> Start:
        variables = {"PEER_MODEL": str(model), "PEER_KIND": kind, "PEER_BATCH": str(batch)}
        return Start([str(python), str(SCRIPTS / script), "--port", str(port)], "/inference", variables)

    return start


def _mlserver(python: Path, _kind: str, model: Path, port: int, work: Path) -> Start:
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": _free_port(),
        "metrics_port": _free_port(),
        "parallel_workers": 1,
        "debug": False,
    }
    (work / "settings.json").write_text(json.dumps(settings))
    served = {
        "name": "model",
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": str(model)},
    }
    (work / "model-settings.json").write_text(json.dumps(served))
    return Start([str(python.with_name("mlserver")), "start", str(work)])


_MLSERVER_PACKAGES = ("mlserver", "mlserver-mlflow", "uvloop<0.22")
"""With the newest uvloop (0.23) its workers die at once: `There is no current event loop`."""
PEERS: dict[str, Peer] = {
    "mlflow": Peer("mlflow models serve, one worker", (), _mlflow),
    "mlserver": Peer("MLServer with its MLflow runtime, one worker", _MLSERVER_PACKAGES, _mlserver),
    "fastapi": Peer("FastAPI and uvicorn by hand, pyfunc in the endpoint", ("fastapi", "uvicorn[standard]"), _fastapi),
    "mosec": Peer("mosec the natural way: pyfunc in the worker", ("mosec",), _mosec("mosec_natural.py", 1)),
    "mosec-batch": Peer("the same, with batches of 64", ("mosec",), _mosec("mosec_natural.py", _BATCH)),
    "mosec-best": Peer(
        "mosec as well as it can be: msgspec, bare estimator, ndarray",
        ("mosec", "msgspec"),
        _mosec("mosec_best.py", 1),
    ),
    "mosec-best-batch": Peer("the same, with batches of 64", ("mosec", "msgspec"), _mosec("mosec_best.py", _BATCH)),
}
