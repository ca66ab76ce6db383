"""R19: a grammar fuzz of every route of a stack of its own, and a report in JSON.

    python bench/fuzz.py --requests 1000000 --json bench/reports/r19.json
    python bench/fuzz.py --seed 7 --only 4711          one case again, with what was sent and what came

Passes if nothing crashed, nothing hung for more than two seconds, no input caused a 5xx, every 4xx was JSON with an
`error_code`, and no process of ours, once warm, grew by more than 50 MiB.
"""

import argparse
import importlib.metadata
import platform
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import uvloop
from reporting import give_out

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.fuzzing.campaign import Campaign, cpu_seconds, lives, memory, prepare  # noqa: E402
from support.fuzzing.cases import Grammar  # noqa: E402
from support.fuzzing.client import Connection  # noqa: E402
from support.stack import Stack, register_echo, start_stack, use_registry  # noqa: E402

MAX_GROWTH_MIB = 50
SAMPLES = 20
WARM_UP_SHARE = 0.05
MAX_WARM_UP = 30_000


def main() -> int:
    """Run the command; 0 if R19 holds."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        stack = start_stack(Path(folder) / "home")
        try:
            use_registry(stack)
            register_echo("1")
            grammar = Grammar(prepare(stack), options.seed)
            if options.only is not None:
                uvloop.run(show(stack, grammar, options.only))
                return 0
            report = uvloop.run(fuzz(stack, grammar, options))
        finally:
            stack.stop()
    give_out(report, options.json)
    return 0 if report["passed"] else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="how many cases to send (default 20000)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="makes a run repeatable")
    parser.add_argument("--only", type=int, metavar="CASE", help="send this one case and print both sides")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report goes beside standard output")
    return parser.parse_args()


async def fuzz(stack: Stack, grammar: Grammar, options: argparse.Namespace) -> dict[str, Any]:
    """Send all cases in slices, looking at memory between them; the report."""
    campaign = Campaign(stack, grammar)
    started, cpu_before, own_before = time.monotonic(), cpu_seconds(stack), psutil.Process().cpu_times()
    alive_before = lives(stack)
    warm_up = min(int(options.requests * WARM_UP_SHARE), MAX_WARM_UP)
    await campaign.run(0, warm_up)
    samples = [memory(stack)]
    slice_size = max(1, (options.requests - warm_up) // SAMPLES)
    for first in range(warm_up, options.requests, slice_size):
        await campaign.run(first, min(slice_size, options.requests - first))
        samples.append(memory(stack))
        rate = campaign.outcome.sent / (time.monotonic() - started)
        print(f"{campaign.outcome.sent} sent, {rate:.0f}/s, faults {dict(campaign.outcome.faults)}", file=sys.stderr)
    seconds = time.monotonic() - started
    own = psutil.Process().cpu_times()
    outcome = campaign.outcome
    alive = lives(stack)
    crashes = {name: [then, alive.get(name)] for name, then in alive_before.items() if alive.get(name) != then}
    growth = {name: round(size - samples[0].get(name, 0.0), 1) for name, size in samples[-1].items()}
    passed = not (outcome.faults or crashes or any(grown > MAX_GROWTH_MIB for grown in growth.values()))
    return {
        "test": "R19",
        "passed": passed,
        "requests": outcome.sent,
        "seconds": round(seconds, 1),
        "requests_per_second": round(outcome.sent / seconds, 1),
        "seed": options.seed,
        "errors": sum(outcome.faults.values()),
        "faults": dict(outcome.faults),
        "crashes": crashes,
        "hangs_over_2_s": outcome.hangs,
        "late_once_and_not_when_repeated": outcome.late_once,
        "slowest_s": round(outcome.slowest_s, 3),
        "5xx_of_mlflow_itself": outcome.foreign_5xx,
        "by_route": dict(outcome.routes.most_common()),
        "by_kind": dict(outcome.kinds.most_common()),
        "by_status": {family: dict(sorted(counts.items())) for family, counts in outcome.statuses.items()},
        "memory_mib": {
            "after_requests": warm_up,
            "start": samples[0],
            "end": samples[-1],
            "growth": growth,
            "total_over_time": [round(sum(sample.values()), 1) for sample in samples],
        },
        "cpu_seconds": {
            "stack": round(cpu_seconds(stack) - cpu_before, 1),
            "client": round(own.user + own.system - own_before.user - own_before.system, 1),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("penstock", "mlflow", "httptools", "uvloop")},
        },
        "findings": [finding.document() for finding in outcome.findings],
    }


async def show(stack: Stack, grammar: Grammar, index: int) -> None:
    """Send one case and print it with its answers."""
    case = grammar.case(index)
    print(f"{case.family} {case.route} {case.kind}\n{case.data!r}")
    host, _, port = stack.url.removeprefix("http://").partition(":")
    connection = Connection(host, int(port))
    for answer in await connection.send(case):
        print(answer)
    await connection.close()


if __name__ == "__main__":
    sys.exit(main())
