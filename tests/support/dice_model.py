"""A model that tells what it drew when it was loaded, and where it runs."""

import os
import random
from pathlib import Path

import mlflow
import numpy as np


class Dice(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.drawn = [random.random(), float(np.random.rand())]

    def predict(self, context, model_input, params=None):
        return {
            "drawn": self.drawn,
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
        }


mlflow.models.set_model(Dice())
