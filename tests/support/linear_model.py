"""A logistic regression of the columns x and n, in a form whose loading imports nothing heavy."""

import warnings

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression


def register_linear(name: str) -> None:
    """Train it, log it to the stack in use and register it."""
    data = pd.DataFrame({"x": [0.0, 1.0], "n": [1.0, 2.0]})
    model = LogisticRegression().fit(data, [0, 1])
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
