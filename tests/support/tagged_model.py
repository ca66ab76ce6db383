"""A model whose answers tell which row was asked, and how many rows it was asked at once; some rows are poison."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class TaggedModel(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        if model_input["is_poison"].any():
            raise ValueError("a row is poison")
        return pd.DataFrame({"tag": model_input["tag"] * 2, "rows": len(model_input)})


set_model(TaggedModel())
