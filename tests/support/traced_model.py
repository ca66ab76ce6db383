"""A model that tells in which trace it works, and whether the span that it makes with MLflow is its own first."""

from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel
from opentelemetry import trace


class Traced(PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:
        seen = trace.get_current_span().get_span_context()
        with mlflow.start_span("inside") as span:
            return [f"{seen.trace_id:032x}", f"{seen.span_id:016x}", str(span.parent_id)]


mlflow.models.set_model(Traced())
