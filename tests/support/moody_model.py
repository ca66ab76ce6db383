"""A model that does what its `model_config` says when it is loaded and asked; well-behaved while it is logged.

It answers with its version, a row for a row. Logged as code, so that replicas need nothing of the tests.
"""

import os
import time

import mlflow


class Moody(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.config = {} if "MOODY_IS_LOGGED" in os.environ else context.model_config or {}
        time.sleep(self.config.get("load_s", 0))
        self.weights = b"w" * (self.config.get("load_mb", 0) << 20)
        if self.config.get("load") == "raise":
            raise RuntimeError("the weights are of another model")

    def predict(self, context, model_input, params=None):
        print("moody was asked", flush=True)
        match self.config.get("predict"):
            case "raise":
                raise ValueError("no mood for this")
            case "hang":
                time.sleep(1000)
            case "exit":
                raise SystemExit(3)
            case "unsayable":
                return [object()]
            case "nan":
                return [float("nan")]
        return [{"version": self.config.get("version")} for _ in range(len(model_input))]


mlflow.models.set_model(Moody())
