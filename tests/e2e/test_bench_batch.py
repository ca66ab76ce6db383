"""`bench/batch.py` in small: it makes its data, has a way go through it, and tells what they came to."""

import json
import subprocess
import sys
from pathlib import Path

from support.stack import clean_environment

ROOT = Path(__file__).parents[2]


def test_p6_the_bench_of_batch_scoring_counts_rows_time_and_memory(tmp_path: Path) -> None:
    """In a process of its own, for it ends whatever child it finds."""
    command = [sys.executable, str(ROOT / "bench/batch.py"), "--rows", "3000", "--rounds", "1", "--models", "lr"]
    command += ["--ways", "ceiling", "--data", str(tmp_path / "data"), "--json", str(tmp_path / "r.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=clean_environment())
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["rows"] == 3000
    (way,) = report["models"]["lr"]["ways"].values()
    assert way["median"]["cpu_s"] > 0
    assert way["median"]["rows_per_cpu_s"] == 3000 / way["median"]["cpu_s"]
    assert way["median"]["peak_mib"] > 10
    assert len(way["rounds"]) == 1
    assert "ceiling" in done.stdout
