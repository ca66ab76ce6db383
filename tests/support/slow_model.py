"""A model that takes its time to load: `LOAD_S` seconds, and then it fails if there is a variable `LOAD_FAILS`.

It adds two million to the column x, as version 2 of the fault tests' model does; asked for `HANGS_ON` it never answers.
"""

import os
import time

import mlflow


class Slow(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        time.sleep(float(os.environ.get("LOAD_S", "0")))
        if "LOAD_FAILS" in os.environ:
            raise ValueError(os.environ["LOAD_FAILS"])

    def predict(self, context, model_input, params=None):
        if "HANGS_ON" in os.environ and float(os.environ["HANGS_ON"]) in model_input["x"].tolist():
            time.sleep(3600)
        return [x + 2_000_000 for x in model_input["x"].tolist()]


mlflow.models.set_model(Slow())
