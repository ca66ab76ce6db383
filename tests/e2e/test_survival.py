"""What must survive what: processes are killed, and everything at once; under load in `tests/faults`."""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.load import Load, burst
from support.stack import MANAGEMENT, Stack, entity, penstock, split, start_stack, wait_for

Create = Callable[..., dict[str, Any]]
ROOMY = {"environment_vars": {"PENSTOCK_QUEUE_SIZE": "4000"}}


def kill(stack: Stack, role: str, endpoint: str | None = None) -> int:
    """`kill -9` the one process of a role; returns its pid."""
    (process,) = stack.ps(role, endpoint)
    os.kill(process["pid"], signal.SIGKILL)
    return int(process["pid"])


def wait_for_new(stack: Stack, role: str, old_pid: int, endpoint: str | None = None) -> None:
    wait_for(
        lambda: [p for p in stack.ps(role, endpoint) if p["state"] == "ready" and p["pid"] != old_pid],
        f"a new {role} in place of {old_pid}",
    )


def test_an_update_under_2000_concurrent_requests_loses_none(stack: Stack, create: Create) -> None:
    create("storm", entity("1", **ROOMY))
    update: dict[str, Any] = {}

    def update_meanwhile() -> None:
        answer = stack.call("PUT", f"{MANAGEMENT}/storm/config", {"served_entities": [entity("2", **ROOMY)]})
        update["status"] = answer.status_code

    updating = threading.Thread(target=update_meanwhile)
    updating.start()
    outcomes = burst(stack, "storm", 2000)
    updating.join()
    assert update["status"] == 200
    assert outcomes.failed == {}
    assert outcomes.sent == 2000
    with Load(stack, "storm") as load:
        stack.wait_ready("storm")
        wait_for(lambda: load.outcomes.versions["2"] > 50, "answers of the new version")
    assert load.outcomes.failed == {}
    assert stack.get("storm")["config"]["config_version"] == 2


def test_a_killed_replica_is_replaced_and_the_endpoint_says_so(stack: Stack, create: Create) -> None:
    create("phoenix", entity("1"))
    (process,) = stack.ps("replica", "phoenix")
    os.kill(process["pid"], signal.SIGSTOP)  # so that the next state is seen before the new one is ready
    os.kill(process["pid"], signal.SIGKILL)
    document = wait_for(lambda: (e := stack.get("phoenix"))["state"]["ready"] == "NOT_READY" and e, "NOT_READY")
    served = document["config"]["served_entities"][0]["state"]
    assert served["deployment"] == "DEPLOYMENT_RECOVERING"
    assert "signal 9" in served["deployment_state_message"]
    assert document["state"]["config_update"] == "NOT_UPDATING"
    assert stack.ask("phoenix").status_code == 200
    stack.wait_ready("phoenix")


def test_the_mlflow_server_is_replaced(stack: Stack) -> None:
    pid = kill(stack, "mlflow")
    wait_for_new(stack, "mlflow", pid)
    query = "/api/2.0/mlflow/registered-models/get?name=m"
    wait_for(lambda: stack.call("GET", query).status_code == 200, "the registry to answer")


@pytest.fixture
def own_stack(stack: Stack, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts stacks whose registry and models are copies of the shared stack's, in homes of their own."""
    started: list[Stack] = []

    def start(home: Path, *options: str, env: dict[str, str] | None = None) -> Stack:
        if not home.exists():
            home.mkdir(parents=True)
            shutil.copytree(stack.home / "mlflow", home / "mlflow")
        started.append(start_stack(home, *options, env=env))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_c89_kill_everything_and_start_again(own_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """In a home whose path is longer than a Unix socket's address may be."""
    home = tmp_path / ("long-" * 20) / "home"
    first = own_stack(home, "--gateways", "2")
    body = {"served_entities": [entity("1", "a"), entity("2", "b")], "traffic_config": split(a=50, b=50)}
    first.call("POST", MANAGEMENT, {"name": "kept", "config": body})
    first.wait_ready("kept")
    first.call("PUT", f"{MANAGEMENT}/kept/config", {"served_entities": [entity("2", "b")]})
    first.wait_ready("kept")
    first.call("POST", MANAGEMENT, {"name": "bare"})
    first.call(
        "POST",
        MANAGEMENT,
        {"name": "failed", "config": {"served_entities": [{"entity_name": "broken", "entity_version": "1"}]}},
    )
    first.wait("failed")
    before = {name: first.get(name) for name in ("kept", "bare", "failed")}
    pids = [p["pid"] for p in first.ps()]
    assert len(first.ps("gateway")) == 2

    first.kill_everything()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]

    second = own_stack(home, "--gateways", "2")
    assert second.token == first.token
    second.wait_ready("kept")
    assert {name: second.get(name) for name in before} == before
    assert second.ask("kept").json()["predictions"][0]["version"] == "2"
    assert len(second.ps("replica")) == 1


def test_children_die_with_a_killed_supervisor(own_stack: Callable[..., Stack], tmp_path: Path) -> None:
    home = tmp_path / "home"
    one = own_stack(home)
    one.call("POST", MANAGEMENT, {"name": "orphan", "config": {"served_entities": [entity("1")]}})
    one.wait_ready("orphan")
    family = psutil.Process(one.pid).children(recursive=True)
    assert len(family) >= 5
    os.kill(one.pid, signal.SIGKILL)
    one.process.wait(10)
    _, alive = psutil.wait_procs(family, timeout=15)
    assert alive == []
    half_fetched = home / "artifacts" / "0123.abc.partial"
    half_fetched.mkdir()
    again = own_stack(home)
    assert not half_fetched.exists()
    again.wait_ready("orphan")


def test_two_stacks_and_a_foreign_tracking_server(
    stack: Stack, own_stack: Callable[..., Stack], tmp_path: Path
) -> None:
    other = own_stack(
        tmp_path / "bare" / "home", "--tracking-uri", stack.url, env={"MLFLOW_TRACKING_TOKEN": stack.token}
    )
    assert other.ps("mlflow") == []
    other.call("POST", MANAGEMENT, {"name": "guest", "config": {"served_entities": [entity("@challenger")]}})
    other.wait_ready("guest")
    assert other.ask("guest").json()["predictions"][0]["version"] == "2"
    assert other.call("GET", "/api/2.0/mlflow/registered-models/get?name=m").status_code == 200
    refusal = penstock("up", "--port", "0", home=other.home)
    assert refusal.returncode == 5
    assert "running already" in refusal.stderr
