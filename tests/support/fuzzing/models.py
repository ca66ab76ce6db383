"""The models that are queried: a table with a signature, a tensor, and one without a signature."""

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from support.stack import SUPPORT

_ROWS_OF_TWO = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
SIGNATURES = {"tensor": _ROWS_OF_TWO, "plain": None}


def register(name: str) -> str:
    """Log and register one of the models beside the echo model; returns the registry's version number."""
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / f"{name}_model.py"),
            signature=SIGNATURES[name],
            registered_model_name=name,
            pip_requirements=["mlflow"],
        )
    return str(info.registered_model_version)
