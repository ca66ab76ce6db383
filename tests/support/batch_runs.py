"""Batch runs in processes of their own that may be killed: forked from a server that has imported what they need."""

import multiprocessing
import os
import shutil
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import deltalake
import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from penstock import faults
from penstock.batch import engine
from penstock.batch.model_source import Registry
from penstock.batch.plan import Format, Mode, Plan, Source, Target
from penstock.batch.run_folder import RunFolder, all_runs
from penstock.batch.runs import resume, run
from penstock.settings import Home

ROWS, FILES, CHUNK_ROWS = 2400, 3, 200
POISON = (0, 777, 1601)
"""Rows whose values the model refuses."""
COLUMNS = ["a", "b", "c"]
TIMEOUT_S = 120
OLD = 100
"""Rows that are in the target before; they have the ids of the source's last ones."""


@dataclass(frozen=True)
class Ground:
    """A model and a source, and what is right."""

    folder: Path
    labels: dict[int, int]
    """By id, of the rows that can be scored."""

    def plan(self, target: Path, form: Format, mode: Mode) -> Plan:
        """A run over the source."""
        keys = ("id",) if mode is Mode.MERGE else ()
        return Plan(
            str(self.folder / "model"),
            Source(str(self.folder / "source")),
            Target(str(target), form, mode, keys),
            chunk_rows=CHUNK_ROWS,
        )


def prepared(folder: Path) -> Ground:
    """A logistic regression and a Delta table of several files, a few of whose rows hold NaN."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 3)), columns=COLUMNS)
    model = LogisticRegression().fit(frame, frame["a"] + frame["b"] > 0)
    mlflow.sklearn.save_model(
        model,
        folder / "model",
        signature=infer_signature(frame, model.predict(frame)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    labels = {at: bool(label) for at, label in enumerate(model.predict(frame)) if at not in POISON}
    frame.loc[list(POISON), "b"] = np.nan
    table = pa.table({"id": np.arange(ROWS), **{name: frame[name].to_numpy() for name in COLUMNS}})
    step = ROWS // FILES
    for start in range(0, ROWS, step):
        deltalake.write_deltalake(folder / "source", table.slice(start, step), mode="append")
    return Ground(folder, labels)


def server() -> ForkServerContext:
    """Where processes are forked that have imported all that a run needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["penstock.batch.runs", "sklearn.linear_model", "mlflow.sklearn"])
    return context


def work(home: Path, plan: Plan, fault: str, folder: Path) -> None:
    """Begin a run, or go on with the one that is not done. Each chunk is committed at once."""
    engine.COMMIT_EVERY_S = 0.0

    def begin(folder: RunFolder) -> None:
        faults.arm(fault, folder.path)

    left = [found for found in all_runs(Home(home).batch) if found.summary() is None]
    faults.arm(fault, folder)
    if left:
        resume(left[0].run_id, Home(home), 2, lambda _: None, begin)
    else:
        run(plan, Home(home), Registry(), 2, lambda _: None, begin)
    os._exit(0)


def rows_of(path: Path, form: Format, columns: list[str]) -> list[dict[str, Any]]:
    """The rows of a target, as a reader sees them."""
    if form is Format.DELTA:
        files = deltalake.DeltaTable(path).file_uris() if (path / "_delta_log").is_dir() else []
    else:
        files = [str(file) for file in path.glob("*.parquet")]
    if not files:
        return []
    rows: list[dict[str, Any]] = ds.dataset(files, format="parquet").to_table(columns=columns).to_pylist()
    return rows


def wipe(*folders: Path) -> None:
    """Begin anew."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
