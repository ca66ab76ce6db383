"""A plain function that streams, with no signature: it tells what reached it."""

import json

import mlflow


class Streamer(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if isinstance(model_input, dict) and model_input.get("prompt") is not None:
            return f"after {model_input['prompt']}"
        return json.dumps(model_input, sort_keys=True) if isinstance(model_input, dict) else str(model_input)

    def predict_stream(self, context, model_input, params=None):
        yield "first"
        yield "second"


mlflow.models.set_model(Streamer())
