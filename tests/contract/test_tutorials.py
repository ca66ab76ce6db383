"""What the tutorials of this field print about real-time serving, as they print it: only the host is another."""

import json

import mlflow
import pandas as pd
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import EndpointCoreConfigInput
from sklearn.linear_model import LinearRegression, LogisticRegression

from support.stack import MANAGEMENT, QUERY, Stack


@pytest.fixture(scope="module")
def sales_model(stack: Stack) -> str:
    """The tutorial's model, logged the tutorial's way, twice."""
    mlflow.set_experiment("tutorial")
    data = pd.DataFrame({"feature1": [1, 2, 3, 4], "feature2": [2, 1, 4, 3]})
    model = LinearRegression().fit(data, [3, 3, 7, 7])
    for _ in range(2):
        with mlflow.start_run():
            mlflow.sklearn.log_model(model, artifact_path="model", registered_model_name="sales_model")
    return "sales_model"


@pytest.mark.usefixtures("databricks_environment")
def test_deploy_query_and_split_as_the_tutorial_does(stack: Stack, sales_model: str) -> None:
    w = WorkspaceClient()
    config = {
        "served_models": [
            {
                "model_name": sales_model,
                "model_version": "1",
                "workload_size": "Small",
                "scale_to_zero_enabled": True,
            }
        ]
    }
    # The tutorial passes the plain dict, which the SDK itself refuses; this is the nearest line that works.
    w.serving_endpoints.create(name="sales-realtime-endpoint", config=EndpointCoreConfigInput.from_dict(config))
    try:
        stack.wait_ready("sales-realtime-endpoint")

        response = requests.post(
            f"{stack.url}/serving-endpoints/sales-realtime-endpoint/invocations",
            headers={"Authorization": f"Bearer {stack.token}", "Content-Type": "application/json"},
            data=json.dumps({"dataframe_records": [{"feature1": 10, "feature2": 20}]}),
            timeout=30,
        )
        assert response.json()["predictions"] == [pytest.approx(30.0)]

        split = {
            "served_models": [
                {"model_name": sales_model, "model_version": "1", "traffic_percentage": 90},
                {"model_name": sales_model, "model_version": "2", "traffic_percentage": 10},
            ]
        }
        updated = w.api_client.do("PUT", f"{MANAGEMENT}/sales-realtime-endpoint/config", body=split)
        routes = updated["pending_config"]["traffic_config"]["routes"]
        assert {r["served_model_name"]: r["traffic_percentage"] for r in routes} == {
            "sales_model-1": 90,
            "sales_model-2": 10,
        }
        assert len(stack.wait_ready("sales-realtime-endpoint")["config"]["served_models"]) == 2
    finally:
        w.serving_endpoints.delete("sales-realtime-endpoint")


def test_the_request_of_the_course_on_model_serving(stack: Stack) -> None:
    """Its body, to the character; its `parameters` are no field of the contract and are ignored."""
    mlflow.set_experiment("tutorial")
    frauds = pd.DataFrame([[i / 10 + j for i in range(5)] for j in (0, 0, 1, 1)])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            LogisticRegression().fit(frauds.to_numpy(), [0, 0, 1, 1]),
            name="model",
            registered_model_name="fraud-detector",
            pip_requirements=["mlflow", "scikit-learn"],
        )
    config = {"served_models": [{"model_name": "fraud-detector", "model_version": "1"}]}
    assert stack.call("POST", MANAGEMENT, {"name": "fraud-detector", "config": config}).status_code == 200
    try:
        stack.wait_ready("fraud-detector")
        answer = stack.call(
            "POST",
            f"{QUERY}/fraud-detector/invocations",
            data='{"inputs": [[0.1, 0.2, 0.3, 0.4, 0.5]], "parameters": {"return_probabilities": false}}',
            headers={"Content-Type": "application/json"},
        )
        assert answer.json() == {"predictions": [0]}
        assert requests.get(f"{stack.url}/health", timeout=10).json() == {"status": "healthy"}
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/fraud-detector")
