"""A model that takes its time, and writes down each time that it is run: `tag` to `file`, then it sleeps `seconds`."""

import time
import uuid
from pathlib import Path

import mlflow


class Counted(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        row = model_input.iloc[0]
        run = uuid.uuid4().hex
        with Path(row["file"]).open("a") as file:
            file.write(f"{row['tag']} {run}\n")
        time.sleep(float(row["seconds"]))
        return [run]


mlflow.models.set_model(Counted())
