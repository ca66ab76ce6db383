"""A model that tells in which environment it runs, and which version of a small package it finds there."""

import importlib.metadata
import sys

import mlflow

try:
    from penstock_dummy import VERSION
except ImportError:
    VERSION = None


class Housed(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return {
            "dummy": VERSION,
            "prefix": sys.prefix,
            "path": sys.path,
            "packages": sorted(found.name for found in importlib.metadata.distributions()),
        }


mlflow.models.set_model(Housed())
