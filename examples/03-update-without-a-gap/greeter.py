"""A Python model that takes its time to load, in its second version."""

import time

import mlflow


class Greeter(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.greeting = context.model_config["greeting"]
        time.sleep(context.model_config["load_s"])

    def predict(self, context, model_input: list[str]) -> list[str]:
        return [f"{self.greeting}, {name}!" for name in model_input]


mlflow.models.set_model(Greeter())
