"""A stack of real processes, driven from outside as a user would."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import msgspec
import psutil
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from penstock.client.supervisor import SupervisorClient
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import SocketFolder

SUPPORT = Path(__file__).parent
MODEL = "m"
BROKEN = "broken"
ROW = {"x": 1.5, "n": 2, "s": "hello"}
MANAGEMENT = "/api/2.0/serving-endpoints"
QUERY = "/serving-endpoints"

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(DataType.double, "x"),
            ColSpec(DataType.long, "n"),
            ColSpec(DataType.string, "s"),
            ColSpec(DataType.datetime, "t", required=False),
            ColSpec(DataType.binary, "b", required=False),
        ]
    ),
    params=ParamSchema([ParamSpec("temp", DataType.double, 0.5)]),
)


@dataclass
class Stack:
    """A running stack and clients of it."""

    url: str
    token: str
    home: Path
    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: object = None, **kwargs: Any) -> requests.Response:
        """One request with the token, as JSON."""
        headers = {**self.headers, **kwargs.pop("headers", {})}
        return requests.request(method, self.url + path, json=body, headers=headers, timeout=60, **kwargs)

    def ask(self, endpoint: str, body: object = None, entity: str | None = None, **kwargs: Any) -> requests.Response:
        """One prediction; a row of the echo model by default."""
        which = f"/served-models/{entity}" if entity else ""
        return self.call(
            "POST", f"{QUERY}/{endpoint}{which}/invocations", body or {"dataframe_records": [ROW]}, **kwargs
        )

    def get(self, endpoint: str) -> dict[str, Any]:
        return self.call("GET", f"{MANAGEMENT}/{endpoint}").json()

    def workspace(self, retry_timeout_s: int = 60) -> WorkspaceClient:
        """The official SDK."""
        return WorkspaceClient(config=Config(host=self.url, token=self.token, retry_timeout_seconds=retry_timeout_s))

    def wait(self, endpoint: str, timeout_s: float = 120) -> dict[str, Any]:
        """The endpoint once its update has ended, either way."""
        return wait_for(
            lambda: (e := self.get(endpoint))["state"]["config_update"] != "IN_PROGRESS" and e,
            f"{endpoint} to end its update",
            timeout_s,
        )

    def wait_ready(self, endpoint: str, timeout_s: float = 120) -> dict[str, Any]:
        """The endpoint once it is READY and not updating."""
        return wait_for(
            lambda: (
                (e := self.get(endpoint))["state"]["ready"] == "READY"
                and e["state"]["config_update"] == "NOT_UPDATING"
                and e
            ),
            f"{endpoint} to be ready",
            timeout_s,
        )

    def ps(self, role: str | None = None, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The stack's processes, in the form of `penstock ps --json`."""
        return [msgspec.to_builtins(process) for process in self.processes(role, endpoint)]

    def processes(self, role: str | None = None, endpoint: str | None = None) -> list[ProcessInfo]:
        """The processes of a role and endpoint, or all: the supervisor knows them also without a control plane."""

        async def ask() -> list[ProcessInfo]:
            client = SupervisorClient(SocketFolder(self.home / "run"))
            try:
                return list((await client.snapshot()).processes)
            finally:
                await client.close()

        with ThreadPoolExecutor(1) as pool:  # whoever asks may run a loop already
            found = pool.submit(lambda: asyncio.run(ask())).result()
        return [p for p in found if role in (None, p.role) and endpoint in (None, p.endpoint)]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def kill_everything(self) -> None:
        """`kill -9` of the supervisor and all its descendants at once."""
        root = psutil.Process(self.process.pid)
        family = [root, *root.children(recursive=True)]
        for process in family:
            process.suspend()
        for process in family:
            process.kill()
        self.process.wait(10)
        psutil.wait_procs(family, timeout=10)


def start_stack(home: Path, *options: str, env: dict[str, str] | None = None, user: int | None = None) -> Stack:
    """Start `penstock up`, as another user if one is given, and wait for its line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "up", "--json", "--port", "0", "--home", str(home), *options],
        stdout=subprocess.PIPE,
        stderr=(home.parent / f"{home.name}.stderr").open("w"),
        text=True,
        env=clean_environment(env),
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (home.parent / f"{home.name}.stderr").read_text()
    document = json.loads(line)
    return Stack(document["url"], document["token"], home, process)


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment without what would point clients elsewhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "MLFLOW_", "DATABRICKS_"))}
    return {**kept, **(extra or {})}


def penstock(
    *arguments: str, home: Path, stdin: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours; `env` are variables beside those that it gets always."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=180,
        input=stdin,
        env=clean_environment(env),
    )


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_s} s for {what}")


def refused(answer: requests.Response, status: int, code: str, *fragments: str) -> None:
    """Assert that an answer is an error in the contract's form whose message holds the fragments."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error_code"] == code
    for fragment in fragments:
        assert fragment in answer.json()["message"]


def use_registry(stack: Stack) -> None:
    """Point MLflow in this process at a stack."""
    os.environ["MLFLOW_TRACKING_TOKEN"] = stack.token
    mlflow.set_tracking_uri(stack.url)
    mlflow.set_registry_uri(stack.url)


@contextmanager
def registry_of(stack: Stack) -> Iterator[None]:
    """MLflow in this process points at a stack while the block runs, and then to where it did before."""
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    tracking_uri, registry_uri = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    use_registry(stack)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_registry_uri(registry_uri)
        os.environ.pop("MLFLOW_TRACKING_TOKEN")
        if token is not None:
            os.environ["MLFLOW_TRACKING_TOKEN"] = token


def register_echo(version: str, name: str = MODEL) -> str:
    """Log and register an echo model that says `version`; returns the registry's version number."""
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / "echo_model.py"),
            model_config={"version": version},
            signature=SIGNATURE,
            registered_model_name=name,
            pip_requirements=["mlflow"],
        )
    return str(info.registered_model_version)


def register_broken(name: str = BROKEN) -> str:
    """Log and register a model that cannot be loaded."""
    return register_code(name, "broken_model.py")


def register_code(name: str, file: str) -> str:
    """Log and register a model that is a file of `tests/support`; returns the registry's version number."""
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / file),
            registered_model_name=name,
            pip_requirements=["mlflow"],
        )
    return str(info.registered_model_version)


def entity(version: str = "1", name: str | None = None, **fields: Any) -> dict[str, Any]:
    """A served entity of the echo model."""
    document = {"entity_name": MODEL, "entity_version": version, "workload_size": "Small", **fields}
    return document if name is None else {**document, "name": name}


def split(**shares: int) -> dict[str, Any]:
    """A traffic config; underscores in names stand for dashes."""
    return {
        "routes": [
            {"served_entity_name": name.replace("_", "-"), "traffic_percentage": share}
            for name, share in shares.items()
        ]
    }
