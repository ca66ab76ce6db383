"""The models that every server gets, and what they are asked."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

_ROWS = 1000
_COLUMNS = [f"f{index}" for index in range(8)]
_NOOP = Path(__file__).parents[1] / "noop_model.py"


@dataclass(frozen=True, slots=True)
class Logged:
    """A model in the registry, and in a folder."""

    name: str
    folder: Path
    frame: pd.DataFrame
    """What it was made with."""

    def body(self, rows: int) -> bytes:
        """The request with the first rows, in the form in which MLflow writes examples."""
        return json.dumps({"dataframe_split": self.frame.head(rows).to_dict(orient="split", index=False)}).encode()

    def answers(self, rows: int) -> list[Any]:
        """What it predicts for them, asked in this process."""
        model = mlflow.pyfunc.load_model(str(self.folder), suppress_warnings=True)
        found: list[Any] = np.asarray(model.predict(self.frame.head(rows))).tolist()
        return found


def log(name: str, folder: Path) -> Logged:
    """Train one, register it with the tracking server in use, and fetch it: all servers get the same files."""
    frame = _texts() if name == "pipeline" else _numbers()
    label = (frame[frame.columns[0]] + frame[frame.columns[1]] > 0).astype(int)
    with mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _LOG[name](name, frame, label)
    fetched = mlflow.artifacts.download_artifacts(f"models:/{name}/1", dst_path=str(folder / name))
    return Logged(name, Path(fetched), frame)


def _numbers() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(_ROWS, len(_COLUMNS))), columns=_COLUMNS)


def _texts() -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "amount": random.normal(size=_ROWS),
            "balance": random.normal(size=_ROWS),
            "visits": random.integers(0, 50, size=_ROWS),
            "city": random.choice(["Berlin", "Lyon", "Porto", "Turin", "Graz"], size=_ROWS),
            "plan": random.choice(["free", "basic", "gold"], size=_ROWS),
            "device": random.choice(["phone", "laptop"], size=_ROWS),
        }
    )


def _log_sklearn(estimator: Any) -> Callable[[str, pd.DataFrame, "pd.Series[int]"], None]:
    def run(name: str, frame: pd.DataFrame, label: "pd.Series[int]") -> None:
        estimator.fit(frame, label)
        mlflow.sklearn.log_model(
            estimator,
            name="model",
            signature=infer_signature(frame, estimator.predict(frame)),
            input_example=frame.head(2),
            registered_model_name=name,
            serialization_format="cloudpickle",
        )

    return run


def _log_xgboost(name: str, frame: pd.DataFrame, label: "pd.Series[int]") -> None:
    estimator = XGBClassifier(n_estimators=200, max_depth=6, n_jobs=1).fit(frame, label)
    mlflow.xgboost.log_model(
        estimator,
        name="model",
        signature=infer_signature(frame, estimator.predict(frame)),
        input_example=frame.head(2),
        registered_model_name=name,
        pip_requirements=["xgboost-cpu"],
    )


def _log_noop(name: str, frame: pd.DataFrame, _label: "pd.Series[int]") -> None:
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(_NOOP),
        signature=infer_signature(frame, frame[_COLUMNS[0]]),
        input_example=frame.head(2),
        registered_model_name=name,
        pip_requirements=["mlflow"],
    )


_CATEGORIES = OneHotEncoder(handle_unknown="ignore")
_LOG: dict[str, Callable[[str, pd.DataFrame, "pd.Series[int]"], None]] = {
    "lr": _log_sklearn(LogisticRegression()),
    "forest": _log_sklearn(RandomForestClassifier(100, random_state=0)),
    "xgboost": _log_xgboost,
    "noop": _log_noop,
    "pipeline": _log_sklearn(
        make_pipeline(
            make_column_transformer(
                (StandardScaler(), ["amount", "balance", "visits"]), (_CATEGORIES, ["city", "plan", "device"])
            ),
            LogisticRegression(),
        )
    ),
}
MODELS = tuple(_LOG)
