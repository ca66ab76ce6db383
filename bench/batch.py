"""Batch scoring beside reading and writing alone, pandas in one pass, Spark, and the model's own `predict`.

    python bench/batch.py [--models M ...] [--ways W ...] [--rows N] [--rounds R] [--data DIR] [--json FILE]

A Delta table of so many rows of five doubles is scored into another, in rounds in which the ways take turns. Rows for
each second of processor time, of all processes that a way starts, the JVM's too; wall time, and the most memory that
they held together. What a way costs for ten rows is its start: imports, the model, a JVM; figures are given with it and
without it. A run of some models or ways replaces what the report held of these, so that it can be made in parts.

`lr` is a logistic regression, `forest` 20 trees of depth 8, `xgboost` 100 trees of depth 6.
"""

import argparse
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from batching.measuring import Cost, Failed, become_reaper, cost_of
from batching.ways import WAYS
from deltalake import write_deltalake
from mlflow.models import infer_signature
from reporting import machine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from xgboost import XGBClassifier

COLUMNS = ["a", "b", "c", "d", "e"]
FILES, FEW = 10, 10
MODELS = ("lr", "forest", "xgboost")
USUAL = {
    "lr": ("ceiling", "ceiling, our reader and writer", "penstock", "pandas", "spark_udf", "penstock --engine spark"),
    "forest": ("ceiling", "penstock", "predict"),
    "xgboost": ("ceiling", "penstock", "predict"),
}
PACKAGES = ("mlflow", "scikit-learn", "xgboost-cpu", "pandas", "numpy", "pyarrow", "deltalake", "pyspark")
TIMEOUT_S = 900.0


def main() -> None:
    """Run the bench."""
    chosen = choices(sys.argv[1:])
    become_reaper()
    with tempfile.TemporaryDirectory(prefix="penstock-batch-") as temporary:
        folder = (chosen.data or Path(temporary)).absolute()
        report = measured(chosen, folder)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(joined(chosen.json, report), indent=1) + "\n")
    show(report)


def choices(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options.add_argument("--ways", nargs="+", choices=tuple(WAYS), help="those that the goals are about by default")
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--data", type=Path, help="where data and models are made, or found")
    options.add_argument("--json", type=Path)
    return options.parse_args(arguments)


def measured(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The report."""
    before = os.getloadavg()
    source, few = table_of(folder, chosen.rows), table_of(folder, FEW)
    make_models(folder, chosen.models)
    found: dict[str, Any] = {}
    for model in chosen.models:
        ways = chosen.ways or USUAL[model]
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        starts = {way: one(way, few, folder, folder / model, FEW) for way in ways}
        load = []
        for turn in range(chosen.rounds):
            load.append(os.getloadavg()[0])
            for way in ways:
                figures = one(way, source, folder, folder / model, chosen.rows)
                rounds[way].append(figures)
                told = f"{figures['rows_per_cpu_s']:,.0f} rows/CPU-s, {figures['wall_s']:.1f} s"
                print(f"{model}, round {turn + 1}, {way}: {told}, {figures['peak_mib']:.0f} MiB", file=sys.stderr)
        found[model] = {"load_before_rounds": load, "ways": {way: summary(rounds[way], starts[way]) for way in ways}}
    return {
        "command": " ".join(["python", *sys.argv]),
        "rows": chosen.rows,
        "at": time.strftime("%Y-%m-%d"),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": machine(before),
        "models": found,
    }


def one(way: str, source: Path, folder: Path, model: Path, rows: int) -> dict[str, float]:
    """What one pass costs."""
    target = folder / "out" / "target"
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    command = [
        sys.executable,
        str(Path(__file__).parent / "batching/ways.py"),
        way,
        str(source),
        str(target),
        str(model),
    ]
    env = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
    cost = cost_of([*command, str(rows)], TIMEOUT_S, env)
    own = json.loads(cost.output.strip().splitlines()[-1])
    if way != "predict":
        check_count(way, target, rows)
    shutil.rmtree(target.parent, ignore_errors=True)
    return figures(cost, own, rows)


def figures(cost: Cost, own: dict[str, Any], rows: int) -> dict[str, float]:
    """What a pass came to; what a way has measured itself counts."""
    cpu_s, wall_s = own.get("cpu_s", cost.cpu_s), own.get("wall_s", cost.wall_s)
    return {
        "rows_per_cpu_s": rows / cpu_s,
        "rows_per_s": rows / wall_s,
        "cpu_s": cpu_s,
        "wall_s": wall_s,
        "peak_mib": cost.peak_mib,
        **{name: value for name, value in own.items() if name == "wall_without_start_s"},
    }


def check_count(way: str, target: Path, rows: int) -> None:
    """A way that loses rows is none.

    Raises:
        Failed: there are not as many rows as there were.
    """
    files = [str(file) for file in target.glob("*.parquet")]
    found = ds.dataset(files).count_rows() if files else 0
    if found != rows:
        raise Failed(f"{way}: wrote {found} rows; wanted {rows}")


def summary(rounds: list[dict[str, float]], start: dict[str, float]) -> dict[str, Any]:
    """Medians, the same without the start, and what they are made of."""
    middle = {name: median(r[name] for r in rounds) for name in rounds[0]}
    rows = middle["rows_per_cpu_s"] * middle["cpu_s"]
    beyond_s = max(middle["cpu_s"] - start["cpu_s"], 1e-9)
    return {"median": {**middle, "rows_per_cpu_s_after_start": rows / beyond_s}, "start": start, "rounds": rounds}


def table_of(folder: Path, rows: int) -> Path:
    """A Delta table of so many rows, made unless it is there."""
    rng = np.random.default_rng(6)
    source = folder / f"rows-{rows}"
    files = min(FILES, rows)
    for at in range(files if not source.exists() else 0):
        count = rows * (at + 1) // files - rows * at // files
        write_deltalake(source, pa.table({name: rng.normal(size=count) for name in COLUMNS}), mode="append")
    return source


def make_models(folder: Path, names: Sequence[str]) -> None:
    """The models, made unless they are there."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(20_000, 5)), columns=COLUMNS)
    label = (frame["a"] + frame["b"] * frame["c"] + rng.normal(size=len(frame)) > 0).astype(int)
    estimators = {
        "lr": LogisticRegression(),
        "forest": RandomForestClassifier(20, max_depth=8, random_state=0),
        "xgboost": XGBClassifier(n_estimators=100, max_depth=6),
    }
    for name in names:
        if (folder / name).exists():
            continue
        fitted = estimators[name].fit(frame, label)
        options: dict[str, Any] = {"signature": infer_signature(frame, fitted.predict(frame)), "pip_requirements": []}
        if name == "xgboost":
            mlflow.xgboost.save_model(fitted, folder / name, **options)
        else:
            mlflow.sklearn.save_model(fitted, folder / name, serialization_format="cloudpickle", **options)


def joined(file: Path, report: dict[str, Any]) -> dict[str, Any]:
    """The report with what an earlier one of the same rows knows beside."""
    earlier = json.loads(file.read_text()) if file.exists() else {}
    if earlier.get("rows") != report["rows"]:
        return report
    models = earlier["models"]
    for name, told in report["models"].items():
        known = models.get(name, {"ways": {}})
        models[name] = {**told, "ways": {**known["ways"], **told["ways"]}}
    return {**report, "models": models}


def show(report: dict[str, Any]) -> None:
    """The medians, as a table."""
    heads = ("rows/CPU-s", "after start", "rows/s", "CPU s", "wall s", "peak MiB")
    print(f"{'model':8} {'way':32}" + "".join(f" {head:>12}" for head in heads))
    for model, told in report["models"].items():
        for way, found in told["ways"].items():
            m = found["median"]
            rates = (m["rows_per_cpu_s"], m["rows_per_cpu_s_after_start"], m["rows_per_s"])
            rest = (m["cpu_s"], m["wall_s"], m["peak_mib"])
            print(
                f"{model:8} {way:32}" + "".join(f" {r:12,.0f}" for r in rates) + "".join(f" {r:12,.1f}" for r in rest)
            )


if __name__ == "__main__":
    main()
