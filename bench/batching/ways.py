"""The ways to score that `bench/batch.py` compares, each a command of its own.

    python bench/batching/ways.py WAY SOURCE TARGET MODEL ROWS

What a way prints last is a JSON document: figures of its own that leave out what has nothing to do with it.
"""

# ruff: noqa: PLC0415 - a way pays for its own imports and for no others

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CHUNK = 131_072
PROVENANCE = {"model_name": "m", "model_version": "1", "run_id": "0" * 32}


def ceiling(source: str, target: str, _model: str, _rows: int) -> dict[str, Any]:
    """Read, and write the same columns as a run does, with a prediction that is always 1: no model. By delta-rs."""
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    dataset = DeltaTable(source).to_pyarrow_dataset()
    made = [("prediction", pa.int64()), *((name, pa.string()) for name in PROVENANCE)]
    schema = pa.schema([*dataset.schema, *made, ("scored_at", pa.timestamp("us", "UTC"))])
    now = pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC"))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in dataset.to_batches(batch_size=CHUNK):
            texts = [pa.repeat(pa.scalar(text), batch.num_rows) for text in PROVENANCE.values()]
            ones = pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows)
            yield pa.RecordBatch.from_arrays(
                [*batch.columns, ones, *texts, pa.repeat(now, batch.num_rows)], schema=schema
            )

    write_deltalake(target, pa.RecordBatchReader.from_batches(schema, batches()))
    return {}


def ceiling_as_ours(source: str, target: str, _model: str, _rows: int) -> dict[str, Any]:
    """The same with the reader, the chunks and the writer of the local engine: what it would do without a model."""
    import pyarrow as pa

    from penstock.batch.columns import Provenance, output_schema, output_table
    from penstock.batch.data_files import write_file
    from penstock.batch.model_source import ModelIdentity
    from penstock.batch.pieces import chunks
    from penstock.batch.pinning import open_rows, pin
    from penstock.batch.places import Places
    from penstock.batch.plan import Format, Plan, Source, Target
    from penstock.batch.prefetch import prefetched

    plan = Plan("m", Source(source), Target(target))
    rows = open_rows(pin(plan.source, Places(source, Format.DELTA, target, f"{target}_errors")), pa.schema([]))
    schema = output_schema(plan, rows.schema, [pa.int64()])
    provenance = Provenance(ModelIdentity("m", "1"), PROVENANCE["run_id"])
    with prefetched(chunks(rows.pieces(0), rows.schema, plan.chunk_rows, 0, 0), 1) as read:
        for chunk in read:
            ones = pa.repeat(pa.scalar(1, pa.int64()), chunk.table.num_rows)
            made = provenance.columns(chunk.table.num_rows, datetime.now(UTC))
            table = output_table(chunk.table, [ones], made, schema)
            write_file(Path(target) / f"{chunk.number}.parquet", table)
    return {}


def pandas(source: str, target: str, model: str, _rows: int) -> dict[str, Any]:
    """The tutorials' way: all of it in one DataFrame."""
    import mlflow
    from deltalake import DeltaTable, write_deltalake

    loaded = mlflow.pyfunc.load_model(model)
    frame = DeltaTable(source).to_pyarrow_dataset().to_table().to_pandas()
    frame["prediction"] = loaded.predict(frame)
    for name, text in PROVENANCE.items():
        frame[name] = text
    frame["scored_at"] = datetime.now(UTC)
    write_deltalake(target, frame)
    return {}


def spark(source: str, target: str, model: str, _rows: int) -> dict[str, Any]:
    """`spark_udf` in a local session of two cores, from Parquet to Parquet: its jars for Delta are not here."""
    import mlflow
    from pyspark.sql.functions import current_timestamp, lit, struct

    import penstock.spark

    session = penstock.spark.session(cores=2)
    started_s = time.monotonic()
    frame = session.read.parquet(f"{source}/*.parquet")
    udf = mlflow.pyfunc.spark_udf(session, model)
    scored = frame.withColumn("prediction", udf(struct(*frame.columns)))
    for name, text in PROVENANCE.items():
        scored = scored.withColumn(name, lit(text))
    scored.withColumn("scored_at", current_timestamp()).write.parquet(target)
    wall_s = time.monotonic() - started_s
    session.stop()
    return {"wall_without_start_s": wall_s}


def penstock_spark(source: str, target: str, model: str, rows: int) -> dict[str, Any]:
    """`penstock batch run --engine spark`; with few rows in several chunks, for the first one needs no Spark."""
    chunk_rows = str(min(CHUNK, max(1, rows // 10)))
    return penstock_local(
        source, target, model, rows, "--engine", "spark", "--processes", "2", "--chunk-rows", chunk_rows
    )


def penstock_local(source: str, target: str, model: str, _rows: int, *options: str) -> dict[str, Any]:
    """`penstock batch run`."""
    home = Path(target).with_name("home")
    arguments = ["--model", model, "--source", source, "--target", target, "--home", str(home), "--json", *options]
    os.execv(sys.executable, [sys.executable, "-m", "penstock", "batch", "run", *arguments])


def predict(source: str, _target: str, model: str, rows: int) -> dict[str, Any]:
    """The estimator's own `predict` on an array in memory, over both cores; only that is counted."""
    import mlflow
    import numpy as np
    from deltalake import DeltaTable

    loaded = mlflow.pyfunc.load_model(model)
    estimator = loaded.get_raw_model()
    if hasattr(estimator, "n_jobs"):
        estimator.n_jobs = 2
    if hasattr(estimator, "get_booster"):
        estimator.get_booster().set_param({"nthread": 2})
    table = DeltaTable(source).to_pyarrow_dataset().head(rows)
    array = np.column_stack([column.to_numpy() for column in table.columns])
    warnings.simplefilter("ignore")
    estimator.predict(array[:1000])
    started_s, spent_s = time.monotonic(), time.process_time()
    for start in range(0, len(array), CHUNK):
        estimator.predict(array[start : start + CHUNK])
    return {"wall_s": time.monotonic() - started_s, "cpu_s": time.process_time() - spent_s}


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "ceiling": ceiling,
    "ceiling, our reader and writer": ceiling_as_ours,
    "penstock": penstock_local,
    "penstock --engine spark": penstock_spark,
    "pandas": pandas,
    "spark_udf": spark,
    "predict": predict,
}


if __name__ == "__main__":
    way, source, target, model, rows = sys.argv[1:]
    print(json.dumps(WAYS[way](source, target, model, int(rows))))
