"""Models of any mood: saved in a folder, or registered."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from support.stack import ROW, SUPPORT

_COLUMNS = [ColSpec(DataType.double, "x"), ColSpec(DataType.long, "n"), ColSpec(DataType.string, "s")]


def save_moody(folder: Path, *, has_example: bool = True, **config: Any) -> Path:
    """The model with that `model_config`, in a folder."""
    with _being_logged():
        mlflow.pyfunc.save_model(str(folder), **_logged(config, has_example))
    return folder


def register_moody(
    name: str, *, has_example: bool = True, metadata: dict[str, Any] | None = None, **config: Any
) -> str:
    """Register the next version; returns its number."""
    mlflow.set_experiment("moody")
    with mlflow.start_run(), _being_logged():
        info = mlflow.pyfunc.log_model(
            name="model", registered_model_name=name, metadata=metadata, **_logged(config, has_example)
        )
    return str(info.registered_model_version)


def _logged(config: dict[str, Any], has_example: bool) -> dict[str, Any]:
    return {
        "python_model": str(SUPPORT / "moody_model.py"),
        "model_config": config,
        "signature": ModelSignature(inputs=Schema(_COLUMNS)),
        "input_example": pd.DataFrame([ROW]) if has_example else None,
        "pip_requirements": ["mlflow"],
    }


@contextmanager
def _being_logged() -> Iterator[None]:
    """MLflow asks a model its example while it logs it."""
    os.environ["MOODY_IS_LOGGED"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        del os.environ["MOODY_IS_LOGGED"]
