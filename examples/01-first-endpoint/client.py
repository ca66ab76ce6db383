"""Serve the newest version and ask for a prediction."""

import mlflow
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput
from sklearn.datasets import load_diabetes

newest = max(int(v.version) for v in mlflow.MlflowClient().search_model_versions("name='diabetes'"))
workspace = WorkspaceClient()
endpoint = workspace.serving_endpoints.create_and_wait(
    name="diabetes",
    config=EndpointCoreConfigInput(
        name="diabetes",
        served_entities=[ServedEntityInput(entity_name="diabetes", entity_version=str(newest), workload_size="Small")],
    ),
)
print(f"{endpoint.name} is {endpoint.state.ready.value}")
patient = load_diabetes(as_frame=True).data.head(1).to_dict(orient="records")
answer = workspace.serving_endpoints.query("diabetes", dataframe_records=patient)
print(f"{answer.served_model_name} predicts {answer.predictions[0]:.1f}")
workspace.serving_endpoints.delete("diabetes")
