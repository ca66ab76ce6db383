"""Replicas are forked from a process that has imported everything, and owe it nothing afterwards."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from support.linear_model import register_linear
from support.load import Load
from support.stack import MANAGEMENT, SUPPORT, Stack, entity, wait_for

DICE = "dice"


@pytest.fixture(scope="module")
def zygote(stack: Stack) -> None:
    """The fork server is ready, and the registry holds a model that tells where it runs."""
    wait_for_zygote(stack)
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / "dice_model.py"),
            registered_model_name=DICE,
            pip_requirements=["mlflow"],
        )


pytestmark = pytest.mark.usefixtures("zygote")


def wait_for_zygote(stack: Stack) -> int:
    process = wait_for(lambda: [p for p in stack.ps("zygote") if p["state"] == "ready"], "the fork server")[0]
    return int(process["pid"])


def dice(**fields: Any) -> dict[str, Any]:
    return {"entity_name": DICE, "entity_version": "1", **fields}


def told(stack: Stack, endpoint: str) -> dict[str, Any]:
    answer = stack.ask(endpoint, {"inputs": [1]})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def build_log(stack: Stack, endpoint: str, served: str) -> str:
    path = f"{MANAGEMENT}/{endpoint}/served-models/{served}/build-logs"
    return str(stack.call("GET", path).json()["logs"])


def test_a_replica_is_forked_and_is_a_process_of_its_own(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    create("forked", dice(environment_vars={"MINE": "1"}))
    seen = told(stack, "forked")
    assert "forked, ready after" in build_log(stack, "forked", "dice-1")
    replica = psutil.Process(seen["pid"])
    assert replica.ppid() == stack.pid, "it is the supervisor's child, not the fork server's"
    assert os.getsid(replica.pid) == replica.pid, "it leads a session of its own"
    assert seen["folder"] == str(stack.home / "run")
    assert seen["environment"]["MINE"] == "1"
    assert not [name for name in seen["environment"] if name.startswith(("MLFLOW_TRACKING", "DATABRICKS"))]
    shared_with_nobody = replica.memory_full_info().uss
    assert shared_with_nobody < replica.memory_info().rss / 2, "most of its memory is the fork server's"


def test_what_a_fork_holds_is_what_a_fresh_process_holds(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    """No descriptor of the fork server, no variable of its environment is left in a replica."""
    create("of-a-fork", dice())
    create("afresh", dice(environment_vars={"OMP_NUM_THREADS": "1"}))
    assert "started afresh, ready after" in build_log(stack, "afresh", "dice-1")
    forked, afresh = told(stack, "of-a-fork"), told(stack, "afresh")
    for seen in (forked, afresh):
        seen["kinds"] = sorted(_kind(link) for link in Path(f"/proc/{seen['pid']}/fd").iterdir())
    assert forked["kinds"] == afresh["kinds"]
    assert forked["environment"] == afresh["environment"]


def test_p3_1_a_forked_replica_costs_a_fraction_of_a_fresh_one(
    stack: Stack, create: Callable[..., dict[str, Any]]
) -> None:
    """Processor time and memory of its own, until it has answered; the clock's times are for the bench.

    The first endpoint's replica fetches the model, and the first of each finds out what it can: those that come after
    it are measured.
    """
    register_linear("linear-of-forks")
    row = {"dataframe_records": [{"x": 1.0, "n": 2.0}]}
    cost = {}
    for endpoint, variables in (("fetches", {}), ("cheap", {}), ("dear", {"OMP_NUM_THREADS": "1"})):
        served = {"entity_name": "linear-of-forks", "entity_version": "1", "environment_vars": variables}
        document = create(endpoint, served)
        (first,) = stack.ps("replica", endpoint)
        os.kill(first["pid"], signal.SIGKILL)
        assert stack.ask(endpoint, row).status_code == 200
        replica = wait_for(partial(_successor, stack, endpoint, first["pid"]), "the replica after it")
        spent = replica.cpu_times()
        cost[endpoint] = spent.user + spent.system
        check = document["config"]["served_entities"][0]["state"]["check"]
        assert check["is_forked"] == (endpoint != "dear")
        if endpoint == "cheap":
            assert replica.memory_full_info().uss < 25 << 20
            assert check["memory_bytes"] < 25 << 20
    assert cost["dear"] > 20 * cost["cheap"]


def _successor(stack: Stack, endpoint: str, pid: int) -> psutil.Process | None:
    later = [process["pid"] for process in stack.ps("replica", endpoint) if process["pid"] not in {None, pid}]
    return psutil.Process(later[0]) if later else None


def _kind(descriptor: Path) -> str:
    target = str(descriptor.readlink())
    return target.split("/")[1] if target.startswith("/") else target.split(":", maxsplit=1)[0]


def test_replicas_of_one_fork_server_do_not_draw_the_same_numbers(
    stack: Stack, create: Callable[..., dict[str, Any]]
) -> None:
    create("dice-one", dice())
    create("dice-two", dice())
    one, two = (told(stack, name)["drawn"] for name in ("dice-one", "dice-two"))
    assert not set(one) & set(two)


def test_the_fork_server_may_die(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    """Replicas outlive it; what dies meanwhile starts afresh; then it is back."""
    create("outlives", entity())
    before = wait_for_zygote(stack)
    with Load(stack, "outlives", workers=2) as load:
        os.kill(before, signal.SIGKILL)
        after = wait_for(lambda: (pid := _zygote(stack)) not in {None, before} and pid, "another fork server")
    assert load.outcomes.failed == {}
    assert load.outcomes.sent > 0
    assert after == wait_for_zygote(stack)
    create("after", dice())
    assert "forked, ready after" in build_log(stack, "after", "dice-1")


def _zygote(stack: Stack) -> int | None:
    ready = [process["pid"] for process in stack.ps("zygote") if process["state"] == "ready"]
    return ready[0] if ready else None


def test_many_replicas_at_once(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    names = [f"many-{index}" for index in range(12)]
    for name in names:
        create(name, dice(), ready=False)
    for name in names:
        stack.wait_ready(name)
    pids = {told(stack, name)["pid"] for name in names}
    assert len(pids) == len(names)
    assert all("forked" in build_log(stack, name, "dice-1") for name in names)


def test_a_replica_that_dies_is_forked_again(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    create("dies", dice())
    before = told(stack, "dies")["pid"]
    os.kill(before, signal.SIGKILL)
    after = told(stack, "dies")["pid"]
    assert after != before
    assert build_log(stack, "dies", "dice-1").count("forked, ready after") == 2
