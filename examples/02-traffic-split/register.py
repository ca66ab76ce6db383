"""Register two versions of a classifier, each under an alias."""

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data = load_wine(as_frame=True)
client = mlflow.MlflowClient()
mlflow.set_experiment("examples")
for alias, strength in (("champion", 1.0), ("challenger", 0.1)):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(data.data, data.target)
    with mlflow.start_run(run_name=alias):
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(data.data, model.predict(data.data)),
            registered_model_name="wine",
        )
    client.set_registered_model_alias("wine", alias, info.registered_model_version)
    print(f"registered wine version {info.registered_model_version} as @{alias}")
