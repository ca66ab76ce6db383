"""How long a replica takes from nothing to its first answer: forked, and afresh; and what it costs.

    python bench/coldstart.py [--rounds N] [--json FILE]

Two endpoints serve the same scikit-learn model; the replicas of one are forked, those of the other start as processes
of their own, because it sets a variable that libraries read when they are loaded. Each round kills both replicas, one
after the other, and asks at once. Times are from when the supervisor begins to start the new one: before that it
waits, the longer the more often a replica has died.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.linear_model import register_linear
from support.stack import MANAGEMENT, Stack, start_stack, use_registry, wait_for

ROW = {"dataframe_records": [{"x": 1.0, "n": 2.0}]}
KINDS = {"forked": {}, "afresh": {"OMP_NUM_THREADS": "1"}}


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-coldstart-") as folder:
        stack = start_stack(Path(folder) / "home")
        try:
            report = measure(stack, chosen.rounds)
        finally:
            stack.stop()
    text = json.dumps(report, indent=2)
    print(text)
    if chosen.json is not None:
        chosen.json.write_text(text + "\n")


def measure(stack: Stack, rounds: int) -> dict[str, Any]:
    """Times, CPU and memory of both kinds, interleaved."""
    use_registry(stack)
    register_linear("linear")
    wait_for(lambda: [p for p in stack.ps("zygote") if p["state"] == "ready"], "the fork server")
    for kind, variables in KINDS.items():
        served = {"entity_name": "linear", "entity_version": "1", "environment_vars": variables}
        stack.call("POST", MANAGEMENT, {"name": kind, "config": {"served_entities": [served]}}).raise_for_status()
        stack.wait_ready(kind)
    seen: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            seen[kind].append(one_start(stack, kind))
    zygote = psutil.Process(stack.ps("zygote")[0]["pid"])
    kinds = {
        kind: {
            "first_answer_ms": _spread([elapsed * 1000 for elapsed, _, _ in runs]),
            "cpu_ms": _spread([cpu * 1000 for _, cpu, _ in runs]),
            "private_mib": _spread([private for _, _, private in runs]),
        }
        for kind, runs in seen.items()
    }
    ratio = kinds["afresh"]["first_answer_ms"]["median"] / kinds["forked"]["first_answer_ms"]["median"]
    return {
        "bench": "coldstart",
        "rounds": rounds,
        "kinds": kinds,
        "times_faster": round(ratio, 1),
        "zygote_rss_mib": round(zygote.memory_info().rss / 2**20, 1),
        "load_average": os.getloadavg(),
    }


def one_start(stack: Stack, endpoint: str) -> tuple[float, float, float]:
    """Kill the replica and ask: seconds from start to answer, CPU seconds of the new process, its private MiB."""
    stack.ask(endpoint, ROW).raise_for_status()
    before = stack.ps("replica", endpoint)[0]["pid"]
    os.kill(before, signal.SIGKILL)
    while psutil.pid_exists(before):
        time.sleep(0.001)
    stack.ask(endpoint, ROW).raise_for_status()
    answered = time.time()
    process = stack.ps("replica", endpoint)[0]
    replica = psutil.Process(process["pid"])
    spent = replica.cpu_times()
    return answered - process["started_at"] / 1000, spent.user + spent.system, replica.memory_full_info().uss / 2**20


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 1),
        "min": round(min(values), 1),
        "max": round(max(values), 1),
    }


if __name__ == "__main__":
    main()
