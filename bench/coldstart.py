"""How long an endpoint at zero takes to its first answer: its replica forked, and started afresh; and what it costs.

    python bench/coldstart.py [--rounds N] [--json FILE]

Two models, each behind two endpoints that sleep after a second without a request. `lean` is a logistic regression of
two columns; `full` is a custom pyfunc: mixed columns, pandas, a scikit-learn pipeline. The replicas of one endpoint are
forked; those of the other start as processes of their own, because it sets a variable that libraries read when they
are loaded. Each round waits until all four sleep and asks one after the other. Times are the client's, from the
request to its whole answer; `cold_start_ms` is what the answer's header says that it waited for a replica.
"""

import argparse
import importlib.metadata
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import mlflow
import mlflow.pyfunc
import pandas as pd
import psutil
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from reporting import give_out, machine
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.linear_model import register_linear
from support.stack import MANAGEMENT, Stack, start_stack, use_registry, wait_for

ROWS = {
    "lean": {"dataframe_records": [{"x": 1.0, "n": 2.0}]},
    "full": {"dataframe_records": [{"x": 1.0, "n": 2, "city": "Nowhere", "when": "2026-11-22T10:00:00"}]},
}
KINDS = {"forked": {}, "afresh": {"OMP_NUM_THREADS": "1"}}
SETTINGS = {"PENSTOCK_AUTOSCALE_STABLE_S": "2", "PENSTOCK_AUTOSCALE_PANIC_S": "1"}
"""So that endpoints sleep soon; waking does not look at them."""
MIB = 1 << 20


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-coldstart-") as folder:
        stack = start_stack(Path(folder) / "home", env=SETTINGS)
        try:
            report = measure(stack, chosen.rounds)
        finally:
            stack.stop()
    give_out(report, chosen.json)


def measure(stack: Stack, rounds: int) -> dict[str, Any]:
    """All four endpoints, interleaved."""
    use_registry(stack)
    register_linear("lean")
    register_full("full")
    wait_for(lambda: [p for p in processes(stack, "zygote") if p["state"] == "ready"], "the fork server")
    for model in ROWS:
        for kind, variables in KINDS.items():
            serve(stack, model, kind, variables)
    load_before = os.getloadavg()
    seen: dict[str, list[dict[str, float]]] = {f"{model}-{kind}": [] for model in ROWS for kind in KINDS}
    for _ in range(rounds):
        for endpoint, wakes in seen.items():
            wait_for(lambda name=endpoint: is_asleep(stack, name), f"{endpoint} to sleep")
            wakes.append(one_wake(stack, endpoint))
    models = {
        model: {
            **{
                kind: {name: spread([run[name] for run in seen[f"{model}-{kind}"]]) for name in FIGURES}
                for kind in KINDS
            },
            "times_faster": ratio(seen, model, "first_answer_ms"),
            "times_less_cpu": ratio(seen, model, "cpu_ms"),
        }
        for model in ROWS
    }
    zygote = psutil.Process(processes(stack, "zygote")[0]["pid"])
    return {
        "bench": "coldstart",
        "rounds": rounds,
        "models": models,
        "zygote_rss_mib": round(zygote.memory_info().rss / MIB, 1),
        "machine": machine(load_before) | {"mlflow": importlib.metadata.version("mlflow"), "nice": os.nice(0)},
    }


FIGURES = ("first_answer_ms", "cold_start_ms", "next_answer_ms", "cpu_ms", "private_mib")


def one_wake(stack: Stack, endpoint: str) -> dict[str, float]:
    """Ask an endpoint that sleeps, and once more; what both took, and what the new process cost until then."""
    body = ROWS[endpoint.partition("-")[0]]
    asked = time.perf_counter()
    answer = stack.ask(endpoint, body)
    answered = time.perf_counter()
    answer.raise_for_status()
    pid = processes(stack, "replica", endpoint)[0]["pid"]
    spent_ms = cpu_ms(pid)
    private = psutil.Process(pid).memory_full_info().uss
    again = time.perf_counter()
    stack.ask(endpoint, body).raise_for_status()
    return {
        "first_answer_ms": (answered - asked) * 1000,
        "cold_start_ms": float(answer.headers["x-penstock-cold-start"]),
        "next_answer_ms": (time.perf_counter() - again) * 1000,
        "cpu_ms": spent_ms,
        "private_mib": private / MIB,
    }


def cpu_ms(pid: int) -> float:
    """Processor time of all threads of a process, as exactly as the scheduler counts it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def processes(stack: Stack, role: str, endpoint: str | None = None) -> list[dict[str, Any]]:
    """What runs, asked over HTTP: starting the command would take more of the machine than what is measured."""
    listed = stack.call("GET", "/api/2.0/penstock/ps").json()["processes"]
    return [process for process in listed if process["role"] == role and endpoint in {None, process["endpoint"]}]


def serve(stack: Stack, model: str, kind: str, variables: dict[str, str]) -> None:
    """An endpoint that sleeps soon."""
    served = {
        "entity_name": model,
        "entity_version": "1",
        "scale_to_zero_enabled": True,
        "environment_vars": {"PENSTOCK_SCALE_TO_ZERO_AFTER_S": "1", **variables},
    }
    body = {"name": f"{model}-{kind}", "config": {"served_entities": [served]}}
    stack.call("POST", MANAGEMENT, body).raise_for_status()
    stack.wait_ready(f"{model}-{kind}")


def is_asleep(stack: Stack, endpoint: str) -> bool:
    """Whether it has no process any more."""
    return [process["state"] for process in processes(stack, "replica", endpoint)] == ["asleep"]


def register_full(name: str) -> None:
    """A pipeline over numbers and words, in a custom pyfunc, with an input example."""
    frame = pd.DataFrame({"x": [0.0, 1.0] * 50, "n": range(100), "day": [0, 4] * 50, "city": ["nowhere", "here"] * 50})
    columns = ColumnTransformer([("words", OneHotEncoder(), ["city"])], remainder=StandardScaler())
    pipeline = make_pipeline(columns, RandomForestClassifier(20)).fit(frame, [0, 1] * 50)
    inputs = [("x", "double"), ("n", "long"), ("city", "string"), ("when", "datetime")]
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickled = Path(folder) / "pipeline.pkl"
        pickled.write_bytes(cloudpickle.dumps(pipeline))
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(Path(__file__).with_name("full_model.py")),
            artifacts={"pipeline": str(pickled)},
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType[kind], column) for column, kind in inputs]),
                params=ParamSchema([ParamSpec("threshold", DataType.double, 0.5)]),
            ),
            input_example=pd.DataFrame(ROWS["full"]["dataframe_records"]).assign(
                when=lambda frame: pd.to_datetime(frame["when"])
            ),
            registered_model_name=name,
            pip_requirements=["scikit-learn"],
        )


def ratio(seen: dict[str, list[dict[str, float]]], model: str, figure: str) -> float:
    """How many times more of a figure a replica takes that starts afresh."""
    afresh, forked = (
        statistics.median(run[figure] for run in seen[f"{model}-{kind}"]) for kind in ("afresh", "forked")
    )
    return round(afresh / forked, 1)


def spread(values: list[float]) -> dict[str, float]:
    """Median and extremes."""
    return {
        "median": round(statistics.median(values), 1),
        "min": round(min(values), 1),
        "max": round(max(values), 1),
    }


if __name__ == "__main__":
    main()
