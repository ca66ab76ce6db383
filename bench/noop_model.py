"""A pyfunc that does nothing: it answers its first column. What it takes is what is around it."""

from typing import Any

import mlflow
import pandas as pd


class Noop(mlflow.pyfunc.PythonModel):
    """Models from code: MLflow loads this file."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """The first column."""
        return model_input["f0"].to_numpy()


mlflow.models.set_model(Noop())
