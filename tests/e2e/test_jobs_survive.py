"""Jobs through the death of the control plane, of a task, and of everything at once."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes import kill, wait_ready
from support.stack import Stack, start_stack, wait_for

API = "/api/2.2/jobs"
WAITS = """
import os, sys, time
open(f"begun-{os.environ['PENSTOCK_TASK_RUN_ID']}", "w").close()
while not os.path.exists("go"):
    time.sleep(0.02)
print("gone on")
"""
GREEDY = "x = b'x' * (500 << 20)\nimport time\ntime.sleep(600)\n"
PARENT = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
ENDED = {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in {"waits": WAITS, "greedy": GREEDY, "parent": PARENT}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path / "home"


@contextlib.contextmanager
def running(home: Path) -> Iterator[Stack]:
    stack = start_stack(home, env={"PENSTOCK_JOB_MEMORY_MB": "256"})
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop()


def create(stack: Stack, program: str, **fields: Any) -> int:
    task = {"task_key": "a", "spark_python_task": {"python_file": str(stack.home.parent / f"{program}.py")}}
    settings = {name: fields.pop(name) for name in ("schedule",) if name in fields}
    body = {"name": program, "tasks": [{**task, **fields}], **settings}
    return int(stack.call("POST", f"{API}/create", body).json()["job_id"])


def begin(stack: Stack, job_id: int) -> int:
    """The id of a run whose task is at work."""
    run_id = int(stack.call("POST", f"{API}/run-now", {"job_id": job_id}).json()["run_id"])
    wait_for(lambda: list(work(stack, run_id).glob("begun-*")), "the task to be at work")
    return run_id


def work(stack: Stack, run_id: int) -> Path:
    return stack.home / "jobs" / str(run_id) / "work"


def get(stack: Stack, run_id: int) -> dict[str, Any]:
    answer = stack.call("GET", f"{API}/runs/get?run_id={run_id}")
    return answer.json() if answer.ok else {"state": {"life_cycle_state": "", "why": answer.text}}


def ended(stack: Stack, run_id: int) -> dict[str, Any]:
    return wait_for(lambda: (run := get(stack, run_id))["state"]["life_cycle_state"] in ENDED and run, "the run to end")


def state(run: dict[str, Any]) -> tuple[str, str]:
    return run["state"]["life_cycle_state"], run["state"].get("result_state", "")


def test_p6_5_runs_go_on_without_the_control_plane_and_are_told_of_after_a_crash_of_all(home: Path) -> None:
    with running(home) as stack:
        waits = create(stack, "waits")
        first = begin(stack, waits)
        pids = [process["pid"] for process in stack.ps("task")]
        kill(stack, *[process["pid"] for process in stack.ps("control-plane")])
        wait_ready(stack, "control-plane", 1)
        assert state(wait_for(lambda: "tasks" in (run := get(stack, first)) and run, "an answer")) == ("RUNNING", "")
        assert [process["pid"] for process in stack.ps("task")] == pids, "the process was not touched"
        kill(stack, *[process["pid"] for process in stack.ps("control-plane")])
        (work(stack, first) / "go").touch()
        assert state(ended(stack, first)) == ("TERMINATED", "SUCCESS"), "it ended while nobody looked"
        assert len(list(work(stack, first).glob("begun-*"))) == 1
        log = stack.call("GET", f"{API}/runs/get-output?run_id={first}").json()["logs"]
        assert log == "gone on\n"

        greedy = stack.call("POST", f"{API}/run-now", {"job_id": create(stack, "greedy")}).json()["run_id"]
        parent = stack.call("POST", f"{API}/run-now", {"job_id": create(stack, "parent")}).json()["run_id"]
        family = wait_for(
            lambda: [
                child
                for process in stack.ps("task")
                if process["name"] != f"task-{greedy + 1}"
                for child in psutil.Process(process["pid"]).children()
            ],
            "the task to start a process of its own",
        )
        stack.call("POST", f"{API}/runs/cancel", {"run_id": parent})
        assert state(ended(stack, parent)) == ("TERMINATED", "CANCELED")
        assert psutil.wait_procs(family, timeout=10)[1] == [], "the whole session ends"
        over = ended(stack, greedy)
        assert state(over) == ("TERMINATED", "FAILED")
        assert "OOM" in over["state"]["state_message"]
        assert "PENSTOCK_JOB_MEMORY_MB" in over["state"]["state_message"]

        lost = begin(stack, waits)
        retried = begin(stack, create(stack, "waits", max_retries=1))
        hourly = {"quartz_cron_expression": "0 0 * * * ?", "timezone_id": "UTC"}
        scheduled = create(stack, "waits", schedule=hourly)
        stack.kill_everything()
    with contextlib.closing(sqlite3.connect(home / "penstock.db")) as database, database:
        three_hours_ago_ms = (int(time.time()) // 3600 - 3) * 3_600_000
        database.execute("UPDATE jobs SET next_due_ms = ? WHERE id = ?", (three_hours_ago_ms, scheduled))
    with running(home) as stack:
        run = ended(stack, lost)
        assert state(run) == ("INTERNAL_ERROR", "FAILED")
        assert run["status"]["termination_details"]["type"] == "INTERNAL_ERROR"
        assert "The stack ended while it ran" in run["state"]["state_message"]
        wait_for(lambda: len(list(work(stack, retried).glob("begun-*"))) == 2, "the second attempt to be at work")
        (work(stack, retried) / "go").touch()
        run = ended(stack, retried)
        assert state(run) == ("TERMINATED", "SUCCESS")
        assert [state(task) for task in run["tasks"]] == [("INTERNAL_ERROR", "FAILED"), ("TERMINATED", "SUCCESS")]

        runs = stack.call("GET", f"{API}/runs/list?job_id={scheduled}").json()["runs"]
        missed = [run for run in runs if run["state"]["state_message"].startswith("Missed: it was due at ")]
        assert len(missed) in {3, 4}, "three hours, and the full one if it has just been"
        assert {state(run) for run in missed} == {("SKIPPED", "")}
        assert missed[-1]["penstock_due_time"] == three_hours_ago_ms
        job = stack.call("GET", f"{API}/get?job_id={scheduled}").json()
        assert job["penstock_next_run_time"] > time.time() * 1000 - 1000, "the schedule goes on"
