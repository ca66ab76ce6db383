"""The clients people have, unmodified: databricks-sdk, mlflow.deployments, requests, MLflow itself."""

import json
import os
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import requests
from databricks.sdk.errors import BadRequest
from databricks.sdk.service.serving import (
    DataframeSplitInput,
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    Route,
    ServedEntityInput,
    ServedModelInput,
    TrafficConfig,
)
from mlflow.deployments import get_deploy_client

from support.stack import MODEL, ROW, Stack, entity, split


def test_sdk_typed_classes_from_create_to_delete(stack: Stack) -> None:
    endpoints = stack.workspace().serving_endpoints
    try:
        created = endpoints.create_and_wait(
            "sdk-typed",
            config=EndpointCoreConfigInput(
                name="sdk-typed",
                served_entities=[
                    ServedEntityInput(name="one", entity_name=MODEL, entity_version="1", workload_size="Small"),
                    ServedEntityInput(name="two", entity_name=MODEL, entity_version="2", workload_size="Small"),
                ],
                traffic_config=TrafficConfig(
                    routes=[
                        Route(served_entity_name="one", traffic_percentage=100),
                        Route(served_entity_name="two", traffic_percentage=0),
                    ]
                ),
            ),
        )
        assert created.state.ready is EndpointStateReady.READY
        assert created.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
        assert [e.name for e in created.config.served_entities] == ["one", "two"]
        assert "sdk-typed" in [e.name for e in endpoints.list()]
        answer = endpoints.query("sdk-typed", dataframe_records=[ROW])
        assert (answer.predictions[0]["version"], answer.served_model_name) == ("1", "one")
        frame = DataframeSplitInput(columns=list(ROW), data=[list(ROW.values())])
        assert endpoints.query("sdk-typed", dataframe_split=frame).predictions == answer.predictions
        with pytest.raises(BadRequest, match="Model is missing inputs"):
            endpoints.query("sdk-typed", dataframe_records=[{"x": 1}])
        updated = endpoints.update_config_and_wait(
            "sdk-typed",
            served_models=[
                ServedModelInput(
                    model_name=MODEL, model_version="2", workload_size="Small", scale_to_zero_enabled=False
                )
            ],
        )
        assert updated.config.config_version == 2
        assert endpoints.query("sdk-typed", dataframe_records=[ROW]).predictions[0]["version"] == "2"
        assert "echo 2 is loaded" in endpoints.build_logs("sdk-typed", "m-2").logs
        assert "echo 2 saw" in endpoints.logs("sdk-typed", "m-2").logs
    finally:
        endpoints.delete("sdk-typed")


def test_sdk_plain_dict_fails_in_the_client_and_from_dict_works(stack: Stack) -> None:
    endpoints = stack.workspace().serving_endpoints
    config = {"served_models": [{"model_name": MODEL, "model_version": "1", "workload_size": "Small"}]}
    with pytest.raises(AttributeError):
        endpoints.create("sdk-dict", config=config)
    try:
        created = endpoints.create("sdk-dict", config=EndpointCoreConfigInput.from_dict(config)).response
        assert created.state.config_update is EndpointStateConfigUpdate.IN_PROGRESS
    finally:
        endpoints.delete("sdk-dict")


@pytest.mark.usefixtures("databricks_environment")
def test_mlflow_deployments_from_a_plain_dict(stack: Stack) -> None:
    client = get_deploy_client("databricks")
    config = {"served_entities": [entity("1")], "traffic_config": split(m_1=100)}
    try:
        created = client.create_endpoint(name="deploy", config={"name": "deploy", "config": config})
        assert created["state"]["config_update"] == "IN_PROGRESS"
        stack.wait_ready("deploy")
        answer = client.predict(endpoint="deploy", inputs={"dataframe_records": [ROW]})
        assert answer["predictions"][0]["version"] == "1"
        assert "deploy" in [e["name"] for e in client.list_endpoints()]
        assert client.get_endpoint("deploy")["config"]["config_version"] == 1
        client.update_endpoint_config("deploy", config={"served_entities": [entity("2")]})
        stack.wait_ready("deploy")
        assert client.predict(endpoint="deploy", inputs={"inputs": [ROW]})["predictions"][0]["version"] == "2"
        with pytest.raises(requests.HTTPError) as caught:
            client.predict(endpoint="deploy", inputs={"dataframe_records": [{"x": 1}]})
        assert caught.value.response.status_code == 400
    finally:
        client.delete_endpoint("deploy")


def test_requests_as_the_tutorials_write_it(stack: Stack, live: str) -> None:
    response = requests.post(
        f"{stack.url}/serving-endpoints/{live}/invocations",
        headers={"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"},
        data=json.dumps({"dataframe_records": [ROW]}),
        timeout=30,
    )
    assert response.json()["predictions"][0]["x"] == ROW["x"]


def test_mlflow_logs_registers_aliases_and_downloads(stack: Stack, tmp_path: Path) -> None:
    """MLflow's own client, pointed at the same address with the same token."""
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == stack.token
    mlflow.set_experiment("clients")
    blob = os.urandom(40 << 20)
    (tmp_path / "blob.bin").write_bytes(blob)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
        mlflow.log_artifact(str(tmp_path / "blob.bin"), "data")
    fetched = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="data/blob.bin", dst_path=str(tmp_path / "out")
    )
    assert Path(fetched).read_bytes() == blob
    client = mlflow.MlflowClient()
    assert client.get_run(run.info.run_id).data.metrics == {"loss": 0.5}
    assert client.get_model_version_by_alias(MODEL, "champion").version in {"1", 1}
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}@challenger")
    assert model.predict(pd.DataFrame([ROW]))[0]["version"] == "2"


def test_mlflow_refuses_a_client_without_token(stack: Stack) -> None:
    answer = requests.get(f"{stack.url}/api/2.0/mlflow/experiments/search", params={"max_results": 1}, timeout=10)
    assert answer.status_code == 401


def test_mlflow_ui_is_served_under_its_path(stack: Stack) -> None:
    bare = requests.get(f"{stack.url}/mlflow", headers=stack.headers, allow_redirects=False, timeout=10)
    assert (bare.status_code, bare.headers["location"]) == (308, "/mlflow/")
    page = requests.get(f"{stack.url}/mlflow/", auth=("token", stack.token), timeout=10)
    assert page.status_code == 200
    assert "<html" in page.text
    script = page.text.split('src="', 1)[1].split('"', 1)[0].lstrip("./")
    assert requests.get(f"{stack.url}/mlflow/{script}", headers=stack.headers, timeout=10).status_code == 200
    search = requests.post(
        f"{stack.url}/mlflow/ajax-api/2.0/mlflow/experiments/search",
        json={"max_results": 5},
        headers={**stack.headers, "origin": stack.url},
        timeout=10,
    )
    assert search.status_code == 200
