"""The compiled input against MLflow's own way: a differential fuzz, and a report in JSON.

    python bench/compiled_input.py --cases 200000 --json bench/reports/compiled_input.json
    python bench/compiled_input.py --seed 7 --cases 2000        the same cases again

Passes if, of all bodies that the compiled input takes, MLflow refuses none and makes the same of each, and if it takes
at least 95 % of the valid bodies for common signatures. The cases are those of `tests/fuzz/test_compiled_input.py`.
"""

import argparse
import importlib.metadata
import platform
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from reporting import give_out

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.compiled.cases import Case, cases  # noqa: E402
from support.compiled.differential import Tally, examine, quiet  # noqa: E402

BATCH = 250
"""Signatures tried under one seed."""
MIN_SHARE = 0.95
MAX_FINDINGS = 20
LIBRARIES = ("penstock", "mlflow", "pandas", "numpy", "msgspec", "hypothesis")


def main() -> int:
    """Run the command; 0 if nothing differs."""
    options = parse()
    report = fuzz(options)
    give_out(report, options.json)
    return 0 if report["passed"] else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000, help="how many bodies to compare (default 20000)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="makes a run repeatable")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report goes beside standard output")
    return parser.parse_args()


def fuzz(options: argparse.Namespace) -> dict[str, Any]:
    """Run batches until there are as many bodies as were asked for; the report."""
    started = time.monotonic()
    total, findings = Tally(), []
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        numbers = count(options.seed)
        while total.bodies < options.cases and len(findings) < MAX_FINDINGS:
            for tally, finding in pool.map(batch, [next(numbers) for _ in range(4 * options.workers)]):
                total.add(tally)
                if finding is not None:
                    findings.append(finding)
            rate = total.bodies / (time.monotonic() - started)
            print(f"{total}, {rate:.0f}/s, {len(findings)} differences", file=sys.stderr)
    return {
        "test": "compiled input",
        "passed": not findings and total.share >= MIN_SHARE,
        "cases": total.bodies,
        "differences": len(findings),
        "taken": total.taken,
        "refused_by_mlflow": total.refused,
        "joined": total.joined,
        "valid_bodies_of_common_signatures": dict(sorted(total.right.items())),
        "of_these_taken": dict(sorted(total.right_taken.items())),
        "share_taken": round(total.share, 4),
        "seconds": round(time.monotonic() - started, 1),
        "seed": options.seed,
        "versions": {"python": platform.python_version(), **{n: importlib.metadata.version(n) for n in LIBRARIES}},
        "findings": findings[:MAX_FINDINGS],
    }


def batch(number: int) -> tuple[Tally, str | None]:
    """The signatures of one seed; what was counted, and the first difference, made small."""
    tally = Tally()

    @seed(number)
    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=[*HealthCheck],
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(cases())
    def run(case: Case) -> None:
        examine(case, tally)

    with quiet():
        try:
            run()
        except Exception as exc:  # noqa: BLE001 - Different, or what a reader raised, which may raise nothing
            return tally, f"seed {number}: {type(exc).__name__}: {exc}"
    return tally, None


if __name__ == "__main__":
    sys.exit(main())
