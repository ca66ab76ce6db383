"""Bad models: whatever one does, one replica may suffer, and nothing else. Another endpoint is asked all along."""

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest
import requests

from support.load import Load
from support.stack import MANAGEMENT, SUPPORT, Stack, penstock, refused, wait_for

BAD = "bad"
Create = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module", autouse=True)
def model(stack: Stack, live: str) -> None:
    """The registry holds the bad model, and the fork server is ready."""
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / "bad_model.py"),
            registered_model_name=BAD,
            pip_requirements=["mlflow"],
        )
    wait_for(lambda: [p for p in stack.ps("zygote") if p["state"] == "ready"], "the fork server")


def bad(size: str = "Small", **variables: object) -> dict[str, Any]:
    variables = {"PENSTOCK_IDEMPOTENT": "false", **variables}
    served = {"entity_name": BAD, "entity_version": "1", "workload_size": size, "name": "it"}
    return {**served, "environment_vars": {name: str(value) for name, value in variables.items()}}


def do(stack: Stack, endpoint: str, deed: str) -> requests.Response:
    return stack.ask(endpoint, {"dataframe_records": [{"do": deed}]})


def answered(stack: Stack, endpoint: str, deed: str = "nothing") -> dict[str, Any]:
    answer = do(stack, endpoint, deed)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]


def pids(stack: Stack, endpoint: str) -> list[int]:
    return sorted(process["pid"] for process in stack.ps("replica", endpoint) if process["state"] == "ready")


def message(stack: Stack, endpoint: str) -> str:
    return str(stack.get(endpoint)["config"]["served_entities"][0]["state"]["deployment_state_message"])


def wait_for_message(stack: Stack, endpoint: str, words: str, timeout_s: float = 30) -> str:
    return str(wait_for(lambda: (m := message(stack, endpoint)) and words in m and m, words, timeout_s))


@contextmanager
def others_are_well(stack: Stack, live: str) -> Iterator[None]:
    """None of the requests to another endpoint fails meanwhile."""
    system = {p["name"]: p["pid"] for p in stack.ps() if p["role"] not in {"replica", "supervisor"}}
    with Load(stack, live, workers=2) as load:
        wait_for(lambda: load.outcomes.sent > 10, "load")
        yield
        before = load.outcomes.sent
        wait_for(lambda: load.outcomes.sent > before + 10, "answers")
    assert load.outcomes.failed == {}
    assert {p["name"]: p["pid"] for p in stack.ps() if p["role"] not in {"replica", "supervisor"}} == system


def test_r9_p3_7_memory_past_its_cap_ends_that_replica_and_says_so(stack: Stack, live: str, create: Create) -> None:
    create("oom", bad("Medium", PENSTOCK_MEMORY_LIMIT_MB=400))
    before = wait_for(lambda: len(two := pids(stack, "oom")) == 2 and two, "two replicas")
    with others_are_well(stack, live):
        refused(do(stack, "oom", "oom"), 500, "INTERNAL_ERROR", "ended while it worked on this request")
        died_s = time.monotonic()
        told = wait_for_message(stack, "oom", "OOM at", timeout_s=2)
        assert time.monotonic() - died_s < 2
        used, cap = told.split("OOM at ")[1].split(" MB")[0].split(" of ")
        assert int(cap) == 400
        assert 400 < int(used) < 1200
        answered(stack, "oom")
    after = wait_for(lambda: len(two := pids(stack, "oom")) == 2 and two, "two replicas")
    assert len(set(before) & set(after)) == 1, "the other replica went on"


def test_p3_7_what_a_replica_starts_counts_as_its_own(stack: Stack, live: str, create: Create) -> None:
    """The memory of a process that has left the session, too; and it ends with the replica."""
    create("family", bad(PENSTOCK_MEMORY_LIMIT_MB=400))
    pid = answered(stack, "family")["pid"]
    with others_are_well(stack, live):
        refused(do(stack, "family", "oom-in-a-child"), 500, "INTERNAL_ERROR")
        assert "of 400 MB" in wait_for_message(stack, "family", "OOM at")
        assert answered(stack, "family")["pid"] != pid


def test_p3_7_a_leaking_replica_is_renewed_between_requests(stack: Stack, live: str, create: Create) -> None:
    """Not one request is lost with it, and it is no death."""
    create("leaks", bad(PENSTOCK_MEMORY_LIMIT_MB=400))
    seen = set()
    with others_are_well(stack, live):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(seen) < 2:
            seen.add(answered(stack, "leaks", "leak:2")["pid"])
            time.sleep(0.1)
    assert len(seen) == 2, "it was renewed"
    assert "before it ran out of memory" in wait_for_message(stack, "leaks", "was replaced")
    assert "in a row" not in message(stack, "leaks")


def test_p3_7_a_crash_loop_backs_off_and_says_so(stack: Stack, live: str, create: Create) -> None:
    create("crashes", bad())
    with others_are_well(stack, live):
        for deed in ("exit", "segfault", "exit"):
            refused(do(stack, "crashes", deed), 500, "INTERNAL_ERROR")
        told = wait_for_message(stack, "crashes", "3 times in a row")
        assert "exit code 3" in told
        assert "started" in told
        answered(stack, "crashes")
    told = wait_for_message(stack, "crashes", "was replaced")
    assert "exit code 3" in told


@pytest.mark.parametrize("deed", ["fork", "threads"])
def test_p3_7_processes_and_threads_without_end(stack: Stack, live: str, create: Create, deed: str) -> None:
    name = f"many-{deed}"
    create(name, bad(PENSTOCK_PROCESS_LIMIT=60))
    with others_are_well(stack, live):
        refused(do(stack, name, deed), 500, "INTERNAL_ERROR")
        told = wait_for_message(stack, name, "processes and threads")
        assert "of 60 that PENSTOCK_PROCESS_LIMIT allows" in told
        pid = answered(stack, name)["pid"]
    family = psutil.Process(pid)
    assert family.children(recursive=True) == []
    strangers = {p.pid for p in psutil.Process(stack.pid).children()} - {p["pid"] for p in stack.ps()}
    assert len(strangers) <= 2, "no fork is left but spares of the fork server"


def test_p3_7_what_a_replica_left_behind_ends_with_it(stack: Stack, live: str, create: Create) -> None:
    """It had left the session, held our sockets and printed without end."""
    create("leaves", bad(PENSTOCK_REQUEST_TIMEOUT_S=30))
    child = answered(stack, "leaves", "leave-a-child")["child"]
    time.sleep(1.5)  # it is known for a descendant when it has been looked at once
    with others_are_well(stack, live):
        refused(do(stack, "leaves", "exit"), 500, "INTERNAL_ERROR")
        answered(stack, "leaves")
    wait_for(lambda: not psutil.pid_exists(child), "the child to be gone")


def test_p3_7_what_a_replica_is_given_to_live_with(stack: Stack, live: str, create: Create) -> None:
    create("tells", bad(PENSTOCK_FILE_LIMIT=256))
    with others_are_well(stack, live):
        told = answered(stack, "tells", "tell")
        assert told["files"] == [256, 256]
        assert told["core"] == [0, 0]
        assert told["oom_score_adj"] == "500"
        threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
        assert {told["environment"][f"{name}_NUM_THREADS"] for name in threads} == {"1"}
        assert told["environment"]["CUDA_VISIBLE_DEVICES"] == ""
        tried = answered(stack, "tells", "files")
        assert 200 < tried["opened"] < 256
        assert tried["error"] == "Too many open files"
        path = f"{MANAGEMENT}/tells/served-models/it/build-logs"
        assert "forked, ready after" in stack.call("GET", path).json()["logs"]
        if importlib.util.find_spec("torch") is not None:  # imported after the fork, it works, with one thread
            used = answered(stack, "tells", "torch")
            assert (used["torch_threads"], used["finite"]) == (1, True)
        assert do(stack, "tells", "files-kept").status_code in {400, 500}


def test_p3_7_variables_of_threads_may_be_set(stack: Stack, create: Create) -> None:
    create("threaded", bad(OMP_NUM_THREADS=2))
    told = answered(stack, "threaded", "tell")["environment"]
    assert (told["OMP_NUM_THREADS"], told["OPENBLAS_NUM_THREADS"]) == ("2", "1")


def test_p3_7_printing_without_end_hurts_nobody(stack: Stack, live: str, create: Create) -> None:
    create("prints", bad())
    with others_are_well(stack, live):
        pid = answered(stack, "prints", "print:512")["pid"]
    assert answered(stack, "prints")["pid"] == pid
    logs = list((stack.home / "logs" / "prints").rglob("*"))
    assert sum(log.stat().st_size for log in logs if log.is_file()) < 40 << 20


def test_p3_7_closed_descriptors_hurt_only_who_closes_them(stack: Stack, live: str, create: Create) -> None:
    create("closes", bad())
    pid = answered(stack, "closes")["pid"]
    with others_are_well(stack, live):
        assert answered(stack, "closes", "close-streams")["pid"] == pid
        assert {answered(stack, "closes")["pid"] for _ in range(20)} == {pid}
        refused(do(stack, "closes", "close-all"), 500, "INTERNAL_ERROR", "ended while it worked on this request")
        assert answered(stack, "closes")["pid"] != pid
        refused(do(stack, "closes", "not-json"), 400, "BAD_REQUEST")


def test_p3_7_a_gpu_type_without_a_gpu_is_a_deploy_error(stack: Stack, create: Create) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    create("no-gpu", bad())
    pid = answered(stack, "no-gpu")["pid"]
    served = {**bad(), "workload_type": "MULTIGPU_MEDIUM"}
    assert stack.call("PUT", f"{MANAGEMENT}/no-gpu/config", {"served_entities": [served]}).status_code == 200
    document = stack.wait("no-gpu")
    assert document["state"] == {**document["state"], "config_update": "UPDATE_FAILED", "ready": "READY"}
    state = document["pending_config"]["served_entities"][0]["state"]
    assert state["deployment"] == "DEPLOYMENT_FAILED"
    told = state["deployment_state_message"]
    assert told == "workload_type MULTIGPU_MEDIUM needs 4 GPUs; this machine has none."
    assert answered(stack, "no-gpu")["pid"] == pid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_MEMORY_LIMIT_MB", "lots"),
        ("PENSTOCK_MEMORY_LIMIT_MB", "0"),
        ("PENSTOCK_PROCESS_LIMIT", "1.5"),
        ("PENSTOCK_FILE_LIMIT", "-1"),
    ],
)
def test_p3_7_a_limit_that_cannot_be_is_refused(stack: Stack, name: str, value: str) -> None:
    body = {"name": "odd", "config": {"served_entities": [bad(**{name: value})]}}
    refused(stack.call("POST", MANAGEMENT, body), 400, "INVALID_PARAMETER_VALUE", name, f"'{value}'")


def test_p3_7_which_limits_are_kept_is_said(stack: Stack) -> None:
    checks = {check["check"]: check for check in json.loads(penstock("doctor", "--json", home=stack.home).stdout)}
    status = json.loads(penstock("status", "--json", home=stack.home).stdout)
    assert checks["limits"]["detail"] == status["limits"]
    assert "kept by the" in status["limits"]
    assert status["limits"] in (stack.home / "logs" / ".system" / "supervisor.log").read_text()
    assert checks["gpus"]["detail"] == (", ".join(status["gpus"]) or "none")
