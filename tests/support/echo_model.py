"""A model that tells what reached it. Logged as code, so that replicas need nothing of the tests.

One row out for every row in. The string column `s` can also ask for trouble: `raise`, `mlflow-raise`, `die`, or
`sleep:SECONDS`. The variable `ECHO_LOAD_S` makes its loading take so long.
"""

import os
import time

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException


class Echo(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.version = context.model_config["version"]
        time.sleep(float(os.environ.get("ECHO_LOAD_S", "0")))
        print(f"echo {self.version} is loaded", flush=True)

    def predict(self, context, model_input, params=None):
        return [self._row(row, params or {}) for row in model_input.to_dict(orient="records")]

    def _row(self, row, params):
        text = row.get("s") or ""
        if text == "raise":
            raise ValueError("the model does not like this")
        if text == "mlflow-raise":
            raise MlflowException("the model refuses this")
        if text == "die":
            os._exit(3)
        if text.startswith("sleep:"):
            time.sleep(float(text.removeprefix("sleep:")))
        if text == "env":
            return {"env": dict(os.environ), "argv_has_token": "token" in " ".join(os.sys.argv)}
        print(f"echo {self.version} saw {text!r}", flush=True)
        time_value = row.get("t")
        return {
            "version": self.version,
            "columns": sorted(str(name) for name in row),
            "x": None if pd.isna(row["x"]) else row["x"],
            "x_is_nan": bool(pd.isna(row["x"])),
            "n": int(row["n"]),
            "s": text,
            "t": None if time_value is None or pd.isna(time_value) else pd.Timestamp(time_value).isoformat(),
            "b": None if row.get("b") is None else bytes(row["b"]).hex(),
            "temp": params.get("temp"),
        }


mlflow.models.set_model(Echo())
