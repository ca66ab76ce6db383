"""The `frame` tier: the flavor gets the frame that the compiled input made, and MLflow's enforcement is left out.

Everything else that `PyFuncModel.predict` does is kept, because it does it itself: the prediction context, the params'
defaults, the warning about params. It is asked on a twin of the model whose metadata knows no input schema, so that
nothing is enforced a second time; the twin shares the model's implementation.
"""

import copy
from collections.abc import Callable
from typing import Any

from mlflow.models import ModelSignature
from mlflow.pyfunc import PyFuncModel


def frame_predict(model: PyFuncModel) -> Callable[[Any], Any]:
    """`model.predict` for input that has the schema already."""
    metadata = copy.copy(model.metadata)
    outputs, params = metadata.get_output_schema(), metadata.get_params_schema()
    metadata.signature = ModelSignature(outputs=outputs, params=params) if outputs or params else None
    twin = copy.copy(model)
    twin._model_meta = metadata
    predict: Callable[[Any], Any] = twin.predict
    return predict


def refusal(model: PyFuncModel) -> str | None:
    """Why a model cannot be asked with a ready frame; None if it can."""
    if type(model) is not PyFuncModel:
        return "its class is derived from MLflow's"
    metadata = model.metadata
    if metadata._is_signature_from_type_hint() or metadata._is_type_hint_from_example():
        return "its signature comes from type hints, by which MLflow converts each input"
    return None
