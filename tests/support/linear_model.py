"""Small scikit-learn models, in a form whose loading imports nothing heavy."""

import warnings

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression, LogisticRegression


def register_linear(name: str) -> None:
    """Register a logistic regression of the columns x and n with the stack in use."""
    data = pd.DataFrame({"x": [0.0, 1.0], "n": [1.0, 2.0]})
    _register(name, LogisticRegression().fit(data, [0, 1]), data)


def register_adder(name: str, offset: float) -> None:
    """Register a linear regression that answers x + offset: an answer tells its question and its version."""
    data = pd.DataFrame({"x": [0.0, 1000.0]})
    _register(name, LinearRegression().fit(data, data["x"] + offset), data)


def _register(name: str, model: LinearRegression | LogisticRegression, data: pd.DataFrame) -> None:
    mlflow.set_experiment("linear")
    with mlflow.start_run(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(data, model.predict(data)),
            registered_model_name=name,
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
