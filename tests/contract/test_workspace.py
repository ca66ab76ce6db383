"""Routes of a workspace beside serving, and an endpoint's OpenAPI document. Names bear the checklist's numbers."""

import json
from collections.abc import Callable
from typing import Any

import mlflow
import pytest
from databricks.sdk.errors import NotImplemented as NotImplementedHere
from databricks.sdk.service.serving import ExternalFunctionRequestHttpMethod, PtEndpointCoreConfig, PtServedModel
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from support.stack import MANAGEMENT, MODEL, SUPPORT, Stack, entity, refused

Create = Callable[..., dict[str, Any]]


def test_c40_openapi_of_a_ready_endpoint(stack: Stack, create: Create) -> None:
    create(
        "c40",
        entity("1"),
        entity("2", "second"),
        traffic_config={
            "routes": [
                {"served_entity_name": "m-1", "traffic_percentage": 100},
                {"served_entity_name": "second", "traffic_percentage": 0},
            ]
        },
    )
    document = json.loads(stack.workspace().serving_endpoints.get_open_api("c40").contents.read())
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {"title": "c40", "version": "1"}
    assert document["servers"] == [{"url": f"{stack.url}/serving-endpoints/c40"}]
    assert set(document["paths"]) == {"/served-models/m-1/invocations", "/served-models/second/invocations"}
    operation = document["paths"]["/served-models/m-1/invocations"]["post"]
    forms = operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    by_key = {form["required"][0]: form["properties"] for form in forms}
    assert set(by_key) == {"dataframe_records", "dataframe_split"}
    row = by_key["dataframe_records"]["dataframe_records"]["items"]
    assert row["properties"] == {
        "x": {"type": "number", "format": "double"},
        "n": {"type": "integer", "format": "int64"},
        "s": {"type": "string"},
        "t": {"type": "string", "format": "date-time"},
        "b": {"type": "string", "format": "byte"},
    }
    assert row["required"] == ["x", "n", "s"]
    params = by_key["dataframe_records"]["params"]["properties"]
    assert params == {"temp": {"type": "number", "format": "double", "default": 0.5}}
    for path in document["paths"]:  # every path of the document is one that answers
        answer = stack.call(
            "POST",
            document["servers"][0]["url"].removeprefix(stack.url) + path,
            {"dataframe_records": [{"x": 1.0, "n": 1, "s": "a"}]},
        )
        assert answer.status_code == 200


def test_c40_openapi_needs_a_ready_endpoint_and_a_signature(stack: Stack, create: Create) -> None:
    create("c40-soon", ready=False)
    refused(stack.call("GET", f"{MANAGEMENT}/c40-soon/openapi"), 400, "INVALID_PARAMETER_VALUE", "not ready")
    refused(stack.call("GET", f"{MANAGEMENT}/nope/openapi"), 404, "RESOURCE_DOES_NOT_EXIST")
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / "echo_model.py"),
            model_config={"version": "1"},
            registered_model_name="unsigned",
            pip_requirements=["mlflow"],
            signature=False,
        )
    create("c40-unsigned", {"entity_name": "unsigned", "entity_version": "1"})
    refused(stack.call("GET", f"{MANAGEMENT}/c40-unsigned/openapi"), 400, "INVALID_PARAMETER_VALUE", "signature")


def test_c44_provisioned_throughput_is_refused_by_name(stack: Stack) -> None:
    endpoints = stack.workspace().serving_endpoints
    config = PtEndpointCoreConfig(
        served_entities=[PtServedModel(entity_name=MODEL, entity_version="1", provisioned_model_units=50)]
    )
    with pytest.raises(NotImplementedHere, match="Provisioned throughput"):
        endpoints.create_provisioned_throughput_endpoint("pt-endpoint", config)
    with pytest.raises(NotImplementedHere, match="workload_size"):
        endpoints.update_provisioned_throughput_endpoint_config("pt-endpoint", config)
    refused(stack.call("POST", f"{MANAGEMENT}/pt", {}), 501, "NOT_IMPLEMENTED", "Provisioned throughput")


def test_c45_external_functions_are_refused_by_name(stack: Stack) -> None:
    with pytest.raises(NotImplementedHere, match="External functions"):
        stack.workspace().serving_endpoints.http_request(
            conn="c", method=ExternalFunctionRequestHttpMethod.GET, path="/x", json={"a": 1}
        )
    refused(stack.call("POST", "/api/2.0/external-function", {}), 501, "NOT_IMPLEMENTED", "External functions")


def test_c87_who_am_i(stack: Stack) -> None:
    workspace = stack.workspace()
    me = workspace.current_user.me()
    assert me.user_name == "admin"
    assert [email.value for email in me.emails or []] == ["admin"]
    assert workspace.get_workspace_id() > 0
    answer = stack.call("GET", "/api/2.0/preview/scim/v2/Me")
    assert answer.headers["x-databricks-org-id"] == str(workspace.get_workspace_id())
    assert me.id == answer.json()["id"]


def test_a_signature_of_tensors_is_told_too() -> None:
    """Kept here beside its neighbours: the document's parts that the echo model does not have."""
    from penstock.domain.signature import Signature
    from penstock.wire.openapi import encode_openapi

    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}
    nested = ModelSignature(outputs=Schema([ColSpec(DataType.long)])).to_dict()["outputs"]
    document = encode_openapi("e", 3, "http://h", {"t": Signature([tensor], json.loads(nested), [])})
    operation = document["paths"]["/served-models/t/invocations"]["post"]
    forms = operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert [form["required"] for form in forms] == [["inputs"], ["instances"]]
    assert forms[0]["properties"]["inputs"] == {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}},
    }
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["predictions"]["items"] == {"type": "integer", "format": "int64"}
