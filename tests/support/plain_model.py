"""A model without a signature: whatever reached it comes back, also what JSON cannot say."""

import mlflow


class Plain(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


mlflow.models.set_model(Plain())
