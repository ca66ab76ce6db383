"""A custom pyfunc: a scikit-learn pipeline as an artifact, a row of mixed columns in, a row of mixed columns out."""

from pathlib import Path

import cloudpickle
import mlflow
import pandas as pd


class Full(mlflow.pyfunc.PythonModel):
    """Cleans its input with pandas, predicts with a pipeline, explains in words."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Read the pipeline."""
        self.pipeline = cloudpickle.loads(Path(context.artifacts["pipeline"]).read_bytes())

    def predict(
        self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame, params: dict | None = None
    ) -> pd.DataFrame:
        """Probabilities and a label."""
        frame = model_input.assign(city=model_input["city"].str.lower(), day=model_input["when"].dt.dayofweek)
        probability = self.pipeline.predict_proba(frame[["x", "n", "day", "city"]])[:, 1]
        threshold = (params or {}).get("threshold", 0.5)
        return pd.DataFrame({"probability": probability, "label": ["no", "yes"][int(probability[0] > threshold)]})


mlflow.models.set_model(Full())
