"""What a prediction costs in each tier, beside MLflow's own `predict`; and what choosing the tier costs.

    python bench/tiers.py [--rounds N] [--json FILE] [NAME ...]

Microseconds of CPU of this process, in one thread, the best of the rounds: from the compiled input that was read
already to the model's raw output. `mlflow` is `model.predict` on a ready frame, enforcement of the schema included;
parsing a body by MLflow's code comes on top of it. `alone` is one request of one row, `rows` one request of 100,
`together` 64 requests of one row in one call. Rows differ from call to call: a processor learns the way of one row
through a hundred trees by heart. Models have 8 columns of doubles; sizes are in their names.
"""

# ruff: noqa: E402 - threads have to be settled before NumPy is imported

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # as in a replica

import argparse
import importlib.metadata
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import msgspec
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature
from reporting import machine
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.tiers.selection import select

PACKAGES = ("mlflow", "scikit-learn", "numpy", "pandas", "xgboost-cpu", "lightgbm", "onnxruntime")
_rng = np.random.default_rng(0)
ROWS = pd.DataFrame(_rng.normal(size=(1000, 8)), columns=list("abcdefgh"))
TWO = (ROWS.a + ROWS.b * ROWS.c + _rng.normal(size=1000) > 0).astype(int)
FIVE = np.digitize(ROWS.a + ROWS.b, [-1.5, -0.5, 0.5, 1.5])
NUMBER = 2 * ROWS.a + ROWS.b**2 + _rng.normal(size=1000)
WORDS = ROWS.assign(word=np.where(TWO > 0, "red", "blue"))
TOGETHER, MANY = 64, 100


def _sklearn(estimator: Any, target: Any, method: str = "predict", rows: pd.DataFrame = ROWS) -> Callable[[str], None]:
    def save(path: str) -> None:
        fitted = estimator.fit(rows, target)
        options = {"pyfunc_predict_fn": method, "serialization_format": "cloudpickle", "pip_requirements": []}
        mlflow.sklearn.save_model(fitted, path, signature=infer_signature(rows), **options)

    return save


def _flavor(flavor: Any, model: Callable[[], Any]) -> Callable[[str], None]:
    return lambda path: flavor.save_model(model(), path, signature=infer_signature(ROWS), pip_requirements=[])


def _columns() -> Any:
    return ColumnTransformer([("word", OneHotEncoder(), ["word"]), ("numbers", StandardScaler(), list(ROWS.columns))])


def _onnx(estimator: Any) -> Callable[[], Any]:
    single = ROWS.to_numpy(np.float32)
    return lambda: to_onnx(estimator.fit(single, NUMBER), single[:1])


def _booster() -> Any:
    return xgboost.train({"objective": "binary:logistic", "max_depth": 6}, xgboost.DMatrix(ROWS, TWO), 200)


MODELS: dict[str, Callable[[str], None]] = {
    "LogisticRegression": _sklearn(LogisticRegression(), TWO),
    "LogisticRegression.predict_proba": _sklearn(LogisticRegression(), TWO, "predict_proba"),
    "LogisticRegression of 5 classes, predict_proba": _sklearn(LogisticRegression(), FIVE, "predict_proba"),
    "StandardScaler, LogisticRegression": _sklearn(make_pipeline(StandardScaler(), LogisticRegression()), TWO),
    "LinearRegression": _sklearn(LinearRegression(), NUMBER),
    "DecisionTreeClassifier": _sklearn(DecisionTreeClassifier(), TWO),
    "RandomForestClassifier(100)": _sklearn(RandomForestClassifier(100, random_state=0), TWO),
    "RandomForestRegressor(100)": _sklearn(RandomForestRegressor(100, random_state=0), NUMBER),
    "ExtraTreesClassifier(100)": _sklearn(ExtraTreesClassifier(100, random_state=0), TWO),
    "GradientBoostingClassifier(100)": _sklearn(GradientBoostingClassifier(n_estimators=100), TWO),
    "HistGradientBoostingClassifier(100)": _sklearn(HistGradientBoostingClassifier(max_iter=100), TWO),
    "XGBClassifier(200, depth 6)": _flavor(
        mlflow.xgboost, lambda: xgboost.XGBClassifier(n_estimators=200, max_depth=6).fit(ROWS, TWO)
    ),
    "xgboost.Booster(200, depth 6)": _flavor(mlflow.xgboost, _booster),
    "LGBMClassifier(100)": _flavor(mlflow.lightgbm, lambda: lightgbm.LGBMClassifier(verbose=-1).fit(ROWS, TWO)),
    "lightgbm.Booster(100)": _flavor(
        mlflow.lightgbm, lambda: lightgbm.train({"verbose": -1}, lightgbm.Dataset(ROWS, NUMBER), 100)
    ),
    "ONNX of LinearRegression": _flavor(mlflow.onnx, _onnx(LinearRegression())),
    "ONNX of RandomForestRegressor(100)": _flavor(mlflow.onnx, _onnx(RandomForestRegressor(100, random_state=0))),
    "SVC": _sklearn(SVC(), TWO),
    "KNeighborsClassifier": _sklearn(KNeighborsClassifier(), TWO),
    "columns with words, LogisticRegression": _sklearn(
        make_pipeline(_columns(), LogisticRegression()), TWO, rows=WORDS
    ),
}


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help="models whose names begin so; all without one")
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    named = {name: save for name, save in MODELS.items() if not chosen.names or name.startswith(tuple(chosen.names))}
    if not named:
        sys.exit(f"no model's name begins with {' or '.join(chosen.names)}")
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    before = os.getloadavg()
    report: dict[str, Any] = {}
    print(f"{'us of CPU':48} {'tier':7} {'alone':>9} {'mlflow':>9} {'rows':>9} {'mlflow':>9} {'together':>9} choice ms")
    with tempfile.TemporaryDirectory(prefix="penstock-tiers-") as folder:
        for at, (name, save) in enumerate(named.items()):
            report[name] = found = measured(f"{folder}/{at}", save, chosen.rounds)
            alone, rows = found["alone"], found["rows"]
            print(
                f"{name:48} {found['tier']:7} {alone['tier']:9.1f} {alone['mlflow']:9.1f} {rows['tier']:9.1f} "
                f"{rows['mlflow']:9.1f} {found['together']['tier']:9.1f} {found['choice_ms']:9.0f}",
                flush=True,
            )
    if chosen.json:
        told = {
            "command": " ".join(["python", *sys.argv]),
            "machine": machine(before),
            "versions": versions,
            "models": report,
        }
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")


def measured(path: str, save: Callable[[str], None], rounds: int) -> dict[str, Any]:
    """The figures of one model."""
    save(path)
    model = mlflow.pyfunc.load_model(path)
    reader = compile_input(model.metadata)
    assert reader is not None
    names = model.metadata.get_input_schema().input_names()
    rows = (WORDS if "word" in names else ROWS)[names].to_numpy(object).tolist()

    def request(count: int, start: int = 0) -> Any:
        content = {"columns": names, "data": rows[start : start + count]}
        return reader.read(msgspec.json.encode({"dataframe_split": content}))

    select(model, reader)  # imports what is imported late
    started_s = time.process_time()
    way = select(model, reader)
    choice_ms = (time.process_time() - started_s) * 1000
    assert way.predict is not None
    assert way.slow is not None
    tier, slow = way.predict, way.slow
    one = [(request(1, at),) for at in range(len(rows))]
    many = [(request(MANY, at),) for at in range(0, len(rows), MANY)]
    several = [tuple(ask for (ask,) in one[at : at + TOGETHER]) for at in range(0, len(one) - TOGETHER, TOGETHER)]
    return {
        "tier": way.tier,
        "reason": way.reason,
        "is_row_independent": way.is_row_independent,
        "max_deviation": way.finding.max_deviation,
        "choice_ms": round(choice_ms, 1),
        "alone": {"tier": cpu_us(tier, one, rounds), "mlflow": cpu_us(slow, one, rounds)},
        "rows": {"tier": cpu_us(tier, many, rounds), "mlflow": cpu_us(slow, many, rounds)},
        "together": {"tier": cpu_us(tier, several, rounds)},
    }


def cpu_us(predict: Callable[[Any], Any], asked: list[Any], rounds: int) -> float:
    """CPU of one call: the best of some rounds over different inputs."""
    calls, spent_s = 1, 0.0
    while spent_s < 0.01 and calls < len(asked):
        calls = min(2 * calls, len(asked))
        spent_s = timed(predict, asked[:calls])
    return round(min(timed(predict, asked[:calls]) for _ in range(rounds)) / calls * 1e6, 2)


def timed(predict: Callable[[Any], Any], asked: list[Any]) -> float:
    """CPU seconds for all of some inputs."""
    started_s = time.process_time()
    for inputs in asked:
        predict(inputs)
    return time.process_time() - started_s


if __name__ == "__main__":
    main()
