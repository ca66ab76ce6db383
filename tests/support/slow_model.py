"""A model that takes its time to load: `LOAD_S` seconds, and then it fails if there is a variable `LOAD_FAILS`.

It adds two million to the column x, as version 2 of the fault tests' model does.
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
        return [x + 2_000_000 for x in model_input["x"].tolist()]


mlflow.models.set_model(Slow())
