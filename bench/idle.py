"""What endpoints at zero cost: processor time of the stack's own processes when nothing is asked, and time to start.

    python bench/idle.py [--endpoints N] [--seconds S] [--json FILE]

A stack without endpoints and the same stack with N endpoints that sleep are looked at for S seconds each; then both are
stopped and started again. Processor time is in percent of one core.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from reporting import give_out, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.linear_model import register_linear
from support.stack import MANAGEMENT, Stack, start_stack, use_registry, wait_for

SETTINGS = {
    "PENSTOCK_SCALE_TO_ZERO_AFTER_S": "2",
    "PENSTOCK_AUTOSCALE_STABLE_S": "2",
    "PENSTOCK_AUTOSCALE_PANIC_S": "1",
}
ROLES = ("control-plane", "supervisor", "gateway", "zygote")
SETTLE_S = 10
MODEL = "idle"


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--endpoints", type=int, default=100)
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="penstock-idle-") as folder:
        home = Path(folder) / "home"
        stack, _ = started(home)
        use_registry(stack)
        register_linear(MODEL)
        report: dict[str, Any] = {"bench": "idle", "endpoints": chosen.endpoints, "seconds": chosen.seconds}
        report["none"] = {"cpu_percent": idle(stack, chosen.seconds)}
        stack.stop()
        stack, report["none"]["start_s"] = started(home)
        declare(stack, chosen.endpoints)
        report["at_zero"] = {"cpu_percent": idle(stack, chosen.seconds)}
        stack.stop()
        stack, report["at_zero"]["start_s"] = started(home)
        wait_for(lambda: sleeping(stack) == chosen.endpoints, "every endpoint to be back at zero", 300)
        stack.stop()
    report["machine"] = machine(before)
    give_out(report, chosen.json)


def started(home: Path) -> tuple[Stack, float]:
    """A stack, and the seconds until it said that it is ready."""
    began = time.perf_counter()
    stack = start_stack(home, env=SETTINGS)
    return stack, round(time.perf_counter() - began, 2)


def declare(stack: Stack, count: int) -> None:
    """Endpoints that have served once and sleep."""
    served = {"entity_name": MODEL, "entity_version": "1", "scale_to_zero_enabled": True}
    for index in range(count):
        body = {"name": f"idle-{index}", "config": {"served_entities": [served]}}
        stack.call("POST", MANAGEMENT, body).raise_for_status()
    wait_for(lambda: sleeping(stack) == count, "every endpoint to sleep", 900)


def sleeping(stack: Stack) -> int:
    """How many replicas sleep."""
    return sum(process["state"] == "asleep" for process in stack.ps("replica"))


def idle(stack: Stack, seconds: float) -> dict[str, float]:
    """Processor time of our own processes while nothing is asked, by role."""
    processes = {role: psutil.Process(stack.ps(role)[0]["pid"]) for role in ROLES}
    time.sleep(SETTLE_S)
    before = {role: spent_s(process) for role, process in processes.items()}
    began = time.perf_counter()
    time.sleep(seconds)
    elapsed_s = time.perf_counter() - began
    return {role: round(100 * (spent_s(p) - before[role]) / elapsed_s, 2) for role, p in processes.items()}


def spent_s(process: psutil.Process) -> float:
    """Processor time of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
