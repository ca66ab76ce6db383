"""The models that are queried: a table with a signature, a tensor, one without a signature, and one that streams."""

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from support.stack import SUPPORT

_ROWS_OF_TWO = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
SIGNATURES = {"tensor": _ROWS_OF_TWO}
FILES = {"tensor": "tensor_model.py", "plain": "plain_model.py", "streamer": "talking/streamer.py"}


def register(name: str) -> str:
    """Log and register one of the models beside the echo model; returns the registry's version number."""
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / FILES[name]),
            signature=SIGNATURES.get(name),
            registered_model_name=name,
            pip_requirements=["mlflow"],
        )
    return str(info.registered_model_version)
