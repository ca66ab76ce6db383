"""What the gateway alone costs for each request, beside a program in C that does the same.

    python bench/gateway.py [--rounds N] [--seconds S] [--json FILE]
    python bench/gateway.py --memory 10000000 [--json FILE]

Behind both is the same replica without a model, in front the same client. Auth, traffic split and counting are always
on; what is asked and answered is logged, or not. Rounds of all of them alternate, and the median counts. Processor time
is that of the gateway's process, user and system, from /proc. With --memory that many requests are sent at the gateway,
with everything on, and its resident memory is told. The C compiler is `cc`; without one the program is left out.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "data_plane"))

import stage
from reporting import give_out, machine

CONNECTIONS = (64, 1)
WARM_UP_S = 0.5
SLICE_S = 20.0
Subject = Callable[[], AbstractContextManager[stage.Server]]


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--memory", type=int, metavar="REQUESTS")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    before = os.getloadavg()
    if chosen.memory:
        report = {"bench": "gateway-memory", **memory(chosen.memory)}
    else:
        report = {"bench": "gateway", "rounds": chosen.rounds, "seconds": chosen.seconds}
        report |= compared(chosen.rounds, chosen.seconds)
    report["machine"] = machine(before)
    give_out(report, chosen.json)


def compared(rounds: int, seconds: float) -> dict[str, Any]:
    """Medians and bests of all subjects, and the gateway's cost as a multiple of the floor's."""
    with tempfile.TemporaryDirectory(prefix="penstock-floor-") as folder:
        floor = compiled(Path(folder))
        subjects: dict[str, Subject] = {
            "gateway": partial(stage.gateway, stage.routing_table()),
            "gateway, logging": partial(stage.gateway, stage.logging_table()),
        }
        if floor is not None:
            subjects["C"] = partial(stage.floor, floor, is_logged=False)
            subjects["C, logging"] = partial(stage.floor, floor, is_logged=True)
        seen: dict[str, dict[int, list[dict[str, float]]]] = {
            name: {count: [] for count in CONNECTIONS} for name in subjects
        }
        for turn in range(rounds):
            for name, subject in subjects.items():
                with subject() as server:
                    stage.client(server, 8, WARM_UP_S)
                    for count in CONNECTIONS:
                        seen[name][count].append(measured(server, count, seconds))
                        shown = seen[name][count][-1]
                        print(f"round {turn + 1} c={count} {name}: {shown}", file=sys.stderr)
    results = {name: {str(count): summary(found) for count, found in by.items()} for name, by in seen.items()}
    ratios = {
        f"gateway{suffix} to C{suffix}, c={count}": round(
            results[f"gateway{suffix}"][str(count)]["cpu_us"] / results[f"C{suffix}"][str(count)]["cpu_us"], 2
        )
        for suffix in ("", ", logging")
        for count in CONNECTIONS
        if floor is not None
    }
    return {"results": results, "ratios": ratios, "floor": "measured" if floor else "left out: there is no cc"}


def compiled(folder: Path) -> Path | None:
    """The program in C; None without a compiler."""
    if shutil.which("cc") is None:
        return None
    program = folder / "floor"
    subprocess.run(["cc", "-O2", "-w", "-o", str(program), str(stage.HERE / "floor.c")], check=True)
    return program


def measured(server: stage.Server, connections: int, seconds: float) -> dict[str, float]:
    """One round: what the client saw, and processor time for each request."""
    gateway_ns, replica_ns = server.cpu_ns(), stage.cpu_ns(server.replica_pid)
    seen = stage.client(server, connections, seconds)
    count = seen["requests"]
    return {
        "cpu_us": round((server.cpu_ns() - gateway_ns) / count / 1000, 2),
        "replica_cpu_us": round((stage.cpu_ns(server.replica_pid) - replica_ns) / count / 1000, 2),
        **seen,
    }


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The medians of rounds, and the least processor time."""
    medians = {name: round(median(found[name] for found in rounds), 2) for name in rounds[0]}
    return {
        **medians,
        "errors": sum(found["errors"] for found in rounds),
        "cpu_us_best": min(found["cpu_us"] for found in rounds),
    }


def memory(requests: int) -> dict[str, Any]:
    """Resident memory over that many requests, everything on; what was logged is taken away meanwhile."""
    with stage.gateway(stage.logging_table()) as server:
        warm_up = stage.client(server, 64, SLICE_S)
        sent, errors = 0, warm_up["errors"]
        began_bytes = server.rss_bytes()
        steps = []
        while sent < requests:
            seen = stage.client(server, 64, SLICE_S)
            sent, errors = sent + seen["requests"], errors + seen["errors"]
            for segment in sorted(server.home.glob("spool/*/*.spool"))[:-1]:
                segment.unlink()
            steps.append({"requests": sent, "rss_bytes": server.rss_bytes()})
            print(steps[-1], file=sys.stderr)
        return {
            "warm_up_requests": warm_up["requests"],
            "requests": sent,
            "errors": errors,
            "rss_bytes_at_first": began_bytes,
            "rss_bytes_at_last": server.rss_bytes(),
            "grown_bytes": server.rss_bytes() - began_bytes,
            "most_bytes": max(step["rss_bytes"] for step in steps),
        }


if __name__ == "__main__":
    main()
