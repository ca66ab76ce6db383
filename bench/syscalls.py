"""System calls of the gateway and a replica for each request, against a written budget.

    python bench/syscalls.py [--seconds S] [--json FILE]

A whole stack serves a logistic regression, everything on: auth, counting, and the log of what is asked and answered.
strace counts what the two processes call while a client keeps 1 and then 64 requests in flight; it slows them down, so
that no time is told, only counts. It is to be installed (Debian: apt-get install strace) and may need to be allowed to
look at other processes (kernel.yama.ptrace_scope, or root). Exit code 1 means that a budget is exceeded.

Nobody looks before sleeping here: looking is system calls, as many as there is time for.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent / "data_plane"))

import stage

from support.linear_model import register_linear
from support.stack import MANAGEMENT, QUERY, start_stack, use_registry, wait_for

BUDGET = {
    ("gateway", 1): 14.0,
    ("gateway", 64): 3.5,
    ("replica", 1): 4.5,
    ("replica", 64): 1.0,
}
"""System calls for each request: role, requests in flight.

One request alone costs the gateway a read and a write for the client, a write and two reads (STARTED, answer) for the
replica, a write for the log, and before each read a wait, at which uvloop asks for its process id as well. The replica
waits, reads, says STARTED, answers. Many at once share all but the client's read and write.
"""
MODEL = "syscalls"
BODY = '{"dataframe_split": {"columns": ["x", "n"], "data": [[0.5, 1.0]]}}'
ATTACH_S = 15


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    if shutil.which("strace") is None:
        sys.exit("there is no strace here; on Debian: apt-get install strace")
    with serving() as server:
        stage.client(server, 64, 2.0)
        found = [counted(server, role, pid, count, chosen.seconds) for role, pid, count in cases(server)]
    text = json.dumps({"bench": "syscalls", "seconds": chosen.seconds, "cases": found}, indent=2)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text + "\n")
    sys.exit(any(case["calls_per_request"] > case["budget"] for case in found))


def cases(server: stage.Server) -> Iterator[tuple[str, int, int]]:
    """Who is looked at, and with how many requests in flight."""
    for role, count in BUDGET:
        yield role, server.pid if role == "gateway" else server.replica_pid, count


@contextmanager
def serving() -> Iterator[stage.Server]:
    """A stack that serves the model and logs."""
    with tempfile.TemporaryDirectory(prefix="penstock-syscalls-") as folder:
        stack = start_stack(Path(folder) / "home", env={"PENSTOCK_SPOOL_MAX_MB": "4096"})
        try:
            use_registry(stack)
            register_linear(MODEL)
            served = {"entity_name": MODEL, "entity_version": "1", "environment_vars": {"PENSTOCK_SPIN_US": "0"}}
            config = {"served_entities": [served]}
            table = {"enabled": True, "catalog_name": "main", "schema_name": "default"}
            body = {"name": MODEL, "config": config, "ai_gateway": {"inference_table_config": table}}
            stack.call("POST", MANAGEMENT, body).raise_for_status()
            stack.wait_ready(MODEL)
            wait_for(lambda: len(stack.ps("replica", MODEL)) == 1, "one replica")
            yield stage.Server(
                stack.url.removeprefix("http://"),
                stack.ps("gateway")[0]["pid"],
                stack.ps("replica", MODEL)[0]["pid"],
                stack.home,
                f"{QUERY}/{MODEL}/invocations",
                stack.token,
                BODY,
            )
        finally:
            stack.stop()


def counted(server: stage.Server, role: str, pid: int, connections: int, seconds: float) -> dict[str, Any]:
    """What a process calls for each request, less what it calls when nothing is asked."""
    idle = traced(pid, replace(server), 0, seconds)
    calls = traced(pid, server, connections, seconds)
    requests = calls.pop("requests")
    per_request = {
        name: round((count - idle.get(name, 0)) / requests, 3)
        for name, count in sorted(calls.items(), key=lambda pair: -pair[1])
        if count - idle.get(name, 0) >= requests / 1000
    }
    case = {
        "role": role,
        "in_flight": connections,
        "requests": requests,
        "calls_per_request": round(sum(per_request.values()), 2),
        "budget": BUDGET[role, connections],
        "calls": per_request,
    }
    print(case, file=sys.stderr)
    return case


def traced(pid: int, server: stage.Server, connections: int, seconds: float) -> dict[str, int]:
    """Counts of a process's system calls by name, and of requests, while a client asks."""
    with tempfile.NamedTemporaryFile("r") as report:
        command = ["strace", "-f", "-c", "-U", "calls,name", "-p", str(pid), "-o", report.name]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert strace.stderr is not None
        line = strace.stderr.readline()
        if "attached" not in line:
            sys.exit(f"strace cannot look at process {pid}: {line.strip()}")
        requests = 0
        if connections:
            requests = int(stage.client(server, connections, seconds)["requests"])
        else:
            subprocess.run(["sleep", str(seconds)], check=True)
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=ATTACH_S)
        counts = {"requests": requests}
        for line in report.read().splitlines():
            calls, _, name = line.strip().partition(" ")
            if calls.isdigit() and name.strip() != "total":
                counts[name.strip()] = int(calls)
        return counts


if __name__ == "__main__":
    main()
