"""A model that cannot be loaded."""

import mlflow


class Broken(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        print("about to fail", flush=True)
        raise RuntimeError("the weights are missing: /nowhere/weights.bin")

    def predict(self, context, model_input, params=None):
        return model_input


mlflow.models.set_model(Broken())
