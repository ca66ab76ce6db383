"""Train a model and register it."""

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

data = load_diabetes(as_frame=True)
model = LinearRegression().fit(data.data, data.target)
mlflow.set_experiment("examples")
with mlflow.start_run():
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(data.data, model.predict(data.data)),
        input_example=data.data.head(1),
        registered_model_name="diabetes",
    )
print(f"registered diabetes version {info.registered_model_version}")
