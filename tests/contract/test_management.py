"""The management routes, against a running stack. Test names bear the numbers of the contract's checklist."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from databricks.sdk.errors import (
    InvalidParameterValue,
    OperationFailed,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
    Unauthenticated,
)
from databricks.sdk.service.serving import EndpointCoreConfigInput
from mlflow.deployments import get_deploy_client

from support.stack import BROKEN, MANAGEMENT, MODEL, QUERY, ROW, Stack, entity, refused, split, wait_for

Create = Callable[..., dict[str, Any]]


def test_c03_create_with_a_trailing_slash(stack: Stack, create: Create) -> None:
    try:
        answer = stack.call("POST", f"{MANAGEMENT}/", {"name": "c03"}, allow_redirects=False)
        assert answer.status_code == 200
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c03")


@pytest.mark.parametrize("path", [MANAGEMENT, f"{MANAGEMENT}/x", f"{QUERY}/x/invocations", "/nowhere", "/mlflow/"])
@pytest.mark.parametrize("token", [None, "Bearer wrong", "Bearer", "nonsense", "Basic !!!"])
def test_c04_every_route_wants_a_token(stack: Stack, path: str, token: str | None) -> None:
    headers = {"Authorization": token} if token else {"Authorization": ""}
    for method in ("GET", "POST", "DELETE"):
        answer = stack.call(method, path, headers=headers)
        refused(answer, 401, "UNAUTHENTICATED", "token")


def test_c05_create_without_config(stack: Stack) -> None:
    try:
        document = stack.call("POST", MANAGEMENT, {"name": "c05"}).json()
        assert "config" not in document
        assert "pending_config" not in document
        assert document["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING", "suspend": "NOT_SUSPENDED"}
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c05")


@pytest.mark.parametrize("key", ["served_models", "served_entities"])
def test_c06_c07_a_new_endpoint_is_in_progress(stack: Stack, key: str) -> None:
    name = f"c06-{key[7:]}"
    fields = {"served_models": ("model_name", "model_version"), "served_entities": ("entity_name", "entity_version")}
    first, second = fields[key]
    before_ms = time.time_ns() // 1_000_000
    try:
        config = {key: [{first: MODEL, second: "1", "workload_size": "Small", "scale_to_zero_enabled": False}]}
        document = stack.call("POST", MANAGEMENT, {"name": name, "config": config}).json()
        assert document["name"] == name
        assert re.fullmatch("[0-9a-f]{32}", document["id"])
        assert before_ms <= document["creation_timestamp"] <= time.time_ns() // 1_000_000
        assert document["last_updated_timestamp"] >= before_ms
        assert document["state"]["ready"] == "NOT_READY"
        assert document["state"]["config_update"] == "IN_PROGRESS"
        assert "config" not in document
        pending = document["pending_config"]
        assert pending["start_time"] >= before_ms
        assert pending["served_models"][0]["model_name"] == MODEL
        assert pending["served_models"][0]["model_version"] == "1"
        assert pending["served_entities"][0]["entity_name"] == MODEL
        assert pending["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_CREATING"
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/{name}")


def test_c08_default_name_is_the_last_dotted_part(stack: Stack) -> None:
    missing = stack.call("POST", MANAGEMENT, {"name": "c08", "config": {"served_entities": [entity("1")]}}).json()
    try:
        assert missing["pending_config"]["served_entities"][0]["name"] == "m-1"
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c08")


def test_c09_c10_c11_ready_with_defaults_filled_in(create: Create) -> None:
    document = create("c09", {"entity_name": MODEL, "entity_version": "1"})
    assert "pending_config" not in document
    config = document["config"]
    assert config["config_version"] == 1
    served = config["served_entities"][0]
    assert served["state"]["deployment"] == "DEPLOYMENT_READY"
    assert served["state"]["deployment_state_message"] == ""
    assert served["state"]["replicas"] == {"ready": 1, "starting": 0, "draining": 0}
    assert config["served_models"][0]["name"] == served["name"] == "m-1"
    assert config["traffic_config"]["routes"] == [
        {"served_model_name": "m-1", "served_entity_name": "m-1", "traffic_percentage": 100}
    ]
    assert served["workload_size"] == "Small"
    assert served["workload_type"] == "CPU"
    assert served["scale_to_zero_enabled"] is False


def test_c12_duplicate_name(stack: Stack, live: str) -> None:
    refused(stack.call("POST", MANAGEMENT, {"name": live}), 409, "RESOURCE_ALREADY_EXISTS", live)
    with pytest.raises(ResourceAlreadyExists):
        stack.workspace().serving_endpoints.create(live)


def test_c13_unknown_endpoint(stack: Stack) -> None:
    refused(
        stack.call("GET", f"{MANAGEMENT}/nope"),
        404,
        "RESOURCE_DOES_NOT_EXIST",
        "Endpoint with name 'nope' does not exist.",
    )
    with pytest.raises(ResourceDoesNotExist):
        stack.workspace().serving_endpoints.get("nope")


@pytest.mark.usefixtures("databricks_environment")
def test_c14_c15_delete_answers_an_object_and_then_404(stack: Stack) -> None:
    stack.call("POST", MANAGEMENT, {"name": "c14"})
    answer = stack.call("DELETE", f"{MANAGEMENT}/c14")
    assert (answer.status_code, answer.json()) == (200, {})
    refused(stack.call("DELETE", f"{MANAGEMENT}/c14"), 404, "RESOURCE_DOES_NOT_EXIST")
    stack.call("POST", MANAGEMENT, {"name": "c14"})
    assert not get_deploy_client("databricks").delete_endpoint("c14")


TWO = [entity("1", "a"), entity("2", "b")]
BAD_CONFIGS = {
    "c16 shares sum to 90": ({"served_entities": TWO, "traffic_config": split(a=60, b=30)}, ["90", "100"]),
    "c17 route to nothing": ({"served_entities": TWO, "traffic_config": split(a=60, z=40)}, ["z", "a, b"]),
    "c17 entity without route": ({"served_entities": TWO, "traffic_config": split(a=100)}, ["b"]),
    "c17 share over 100": ({"served_entities": TWO, "traffic_config": split(a=150, b=-50)}, ["routes[0]", "150"]),
    "c18 two without split": ({"served_entities": TWO}, ["traffic_config"]),
    "c18 both forms at once": (
        {"served_entities": [{**e, "traffic_percentage": 50} for e in TWO], "traffic_config": split(a=50, b=50)},
        ["traffic_config", "traffic_percentage"],
    ),
    "c18 older form sums to 90": (
        {"served_models": [{**TWO[0], "traffic_percentage": 60}, {**TWO[1], "traffic_percentage": 30}]},
        ["90"],
    ),
    "c19 duplicate names": ({"served_entities": [entity("1", "a"), entity("2", "a")]}, ["served_entities[1].name"]),
    "c20 sixteen entities": ({"served_entities": [entity("1", f"e{i}") for i in range(16)]}, ["16", "15"]),
    "c21 size beside concurrency": (
        {"served_entities": [entity("1", min_provisioned_concurrency=4)]},
        ["workload_size", "min_provisioned_concurrency"],
    ),
    "c22 unknown type": ({"served_entities": [entity("1", workload_type="TPU")]}, ["workload_type", "TPU", "CPU"]),
    "unknown size": ({"served_entities": [entity("1", workload_size="Tiny")]}, ["workload_size", "Tiny", "Small"]),
    "no entities": ({"served_entities": []}, ["served_entities"]),
    "both lists": ({"served_entities": TWO, "served_models": TWO}, ["served_entities", "served_models"]),
    "version in words": ({"served_entities": [entity("Production")]}, ["entity_version", "Production"]),
    "version a list": ({"served_entities": [entity(["1"])]}, ["served_entities[0].entity_version"]),  # type: ignore[arg-type]
    "percentage a string": (
        {
            "served_entities": TWO,
            "traffic_config": {"routes": [{"served_entity_name": "a", "traffic_percentage": "9"}]},
        },
        ["traffic_config.routes[0].traffic_percentage", "'9'"],
    ),
    "environment of numbers": (
        {"served_entities": [entity("1", environment_vars={"A": 1})]},
        ["served_entities[0].environment_vars.A", "a value of type int", "not shown"],
    ),
    "bad time limit": (
        {"served_entities": [entity("1", environment_vars={"PENSTOCK_REQUEST_TIMEOUT_S": "soon"})]},
        ["PENSTOCK_REQUEST_TIMEOUT_S", "soon"],
    ),
    "unknown secret": (
        {"served_entities": [entity("1", environment_vars={"K": "{{secrets/s/k}}"})]},
        ["environment_vars.K", "{{secrets/s/k}}"],
    ),
    "31 variables": (
        {"served_entities": [entity("1", environment_vars={f"V{i}": "" for i in range(31)})]},
        ["environment_vars", "31", "30"],
    ),
    "entities an object": ({"served_entities": {"a": 1}}, ["served_entities"]),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_c16_c17_c18_c19_c20_c21_c22_bad_configs_name_the_field_and_store_nothing(
    stack: Stack, live: str, case: str
) -> None:
    config, fragments = BAD_CONFIGS[case]
    refused(
        stack.call("POST", MANAGEMENT, {"name": "bad", "config": config}), 400, "INVALID_PARAMETER_VALUE", *fragments
    )
    refused(stack.call("GET", f"{MANAGEMENT}/bad"), 404, "RESOURCE_DOES_NOT_EXIST")
    before = stack.get(live)
    refused(stack.call("PUT", f"{MANAGEMENT}/{live}/config", config), 400, "INVALID_PARAMETER_VALUE", *fragments)
    assert stack.get(live) == before


def test_c16_the_sdk_raises_the_right_class(stack: Stack) -> None:
    config = EndpointCoreConfigInput.from_dict({"served_entities": TWO, "traffic_config": split(a=60, b=30)})
    with pytest.raises(InvalidParameterValue):
        stack.workspace().serving_endpoints.create("bad", config=config)


def test_c18_older_form_of_the_split(stack: Stack) -> None:
    models = [{**e, "traffic_percentage": share} for e, share in zip(TWO, (90, 10), strict=True)]
    try:
        document = stack.call("POST", MANAGEMENT, {"name": "c18", "config": {"served_models": models}}).json()
        routes = document["pending_config"]["traffic_config"]["routes"]
        assert [(r["served_model_name"], r["traffic_percentage"]) for r in routes] == [("a", 90), ("b", 10)]
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c18")


@pytest.mark.parametrize(
    "name", ["bad name!", "databricks-x", "", "a" * 64, "../x", "ü", "chat", "-x", "a/b", "a\0b", "models"]
)
def test_c23_bad_endpoint_names(stack: Stack, name: str) -> None:
    refused(stack.call("POST", MANAGEMENT, {"name": name}), 400, "INVALID_PARAMETER_VALUE", "name")
    assert name not in [e["name"] for e in stack.call("GET", MANAGEMENT).json()["endpoints"]]


@pytest.mark.parametrize(
    ("served", "fragment"),
    [
        (entity("99"), "served_entities[0]: registered model 'm' has no version 99"),
        ({"entity_name": "nothing", "entity_version": "1"}, "'nothing' has no version 1"),
        (entity("@nobody"), "'m' has no alias 'nobody'"),
    ],
)
def test_c24_unknown_model_version_or_alias(stack: Stack, served: dict[str, Any], fragment: str) -> None:
    answer = stack.call("POST", MANAGEMENT, {"name": "c24", "config": {"served_entities": [served]}})
    refused(answer, 404, "RESOURCE_DOES_NOT_EXIST", fragment)
    refused(stack.call("GET", f"{MANAGEMENT}/c24"), 404, "RESOURCE_DOES_NOT_EXIST")


def test_c25_c26_c27_the_old_config_serves_until_the_new_one_is_ready(stack: Stack, create: Create) -> None:
    created = create("c25")
    slow = entity("2", environment_vars={"ECHO_LOAD_S": "3"})
    document = stack.call("PUT", f"{MANAGEMENT}/c25/config", {"served_entities": [slow]}).json()
    assert document["id"] == created["id"]
    assert document["state"]["ready"] == "READY"
    assert document["state"]["config_update"] == "IN_PROGRESS"
    assert document["config"]["served_entities"][0]["entity_version"] == "1"
    assert document["pending_config"]["served_entities"][0]["entity_version"] == "2"
    assert document["pending_config"]["config_version"] == 2
    refused(stack.call("PUT", f"{MANAGEMENT}/c25/config", {"served_entities": [entity("1")]}), 409, "RESOURCE_CONFLICT")
    with pytest.raises(ResourceConflict):
        stack.workspace().serving_endpoints.update_config(
            "c25", served_entities=EndpointCoreConfigInput.from_dict({"served_entities": TWO[:1]}).served_entities
        )
    answers = []
    while (now := stack.get("c25"))["state"]["config_update"] == "IN_PROGRESS":
        assert now["config"]["config_version"] == 1
        answers.append(stack.ask("c25"))
    assert answers
    assert {a.status_code for a in answers} == {200}
    # The switch itself falls between two looks at the state: the last answer may come from either side of it.
    assert {a.json()["predictions"][0]["version"] for a in answers[:-1]} <= {"1"}
    after = stack.wait_ready("c25")
    assert after["config"]["config_version"] == 2
    assert "pending_config" not in after
    answer = stack.ask("c25")
    assert answer.json()["predictions"][0]["version"] == "2"
    assert answer.headers["served-model-name"] == "m-2"


def test_c25_a_change_of_the_split_alone_starts_no_replica(stack: Stack, create: Create) -> None:
    create("c25-split", *TWO, traffic_config=split(a=90, b=10))
    before = {p["pid"] for p in stack.ps("replica", "c25-split")}
    stack.call("PUT", f"{MANAGEMENT}/c25-split/config", {"served_entities": TWO, "traffic_config": split(a=10, b=90)})
    after = stack.wait_ready("c25-split")
    assert after["config"]["config_version"] == 2
    assert {p["pid"] for p in stack.ps("replica", "c25-split")} == before
    assert len(before) == 2


def test_c28_c29_a_broken_update_leaves_the_old_config_serving(stack: Stack, create: Create) -> None:
    create("c28")
    workspace = stack.workspace()
    broken = EndpointCoreConfigInput.from_dict({"served_entities": [{"entity_name": BROKEN, "entity_version": "1"}]})
    with pytest.raises(OperationFailed):
        workspace.serving_endpoints.update_config_and_wait("c28", served_entities=broken.served_entities)
    document = stack.get("c28")
    assert document["state"]["ready"] == "READY"
    assert document["state"]["config_update"] == "UPDATE_FAILED"
    assert document["config"]["config_version"] == 1
    failed = document["pending_config"]["served_entities"][0]["state"]
    assert failed["deployment"] == "DEPLOYMENT_FAILED"
    assert "RuntimeError: the weights are missing: /nowhere/weights.bin" in failed["deployment_state_message"]
    assert stack.ask("c28").json()["predictions"][0]["version"] == "1"
    again = stack.call("PUT", f"{MANAGEMENT}/c28/config", {"served_entities": [entity("2")]})
    assert again.status_code == 200
    assert stack.wait_ready("c28")["config"]["config_version"] == 3
    assert stack.ask("c28").json()["predictions"][0]["version"] == "2"


def test_c30_c41_a_first_deployment_that_fails(stack: Stack, create: Create) -> None:
    create(
        "c30",
        {"entity_name": BROKEN, "entity_version": "1"},
        entity("1", "fine"),
        ready=False,
        traffic_config={
            "routes": [
                {"served_entity_name": "broken-1", "traffic_percentage": 50},
                {"served_entity_name": "fine", "traffic_percentage": 50},
            ]
        },
    )
    document = stack.wait("c30")
    assert document["state"]["ready"] == "NOT_READY"
    assert document["state"]["config_update"] == "UPDATE_FAILED"
    assert "config" not in document
    states = {e["name"]: e["state"]["deployment"] for e in document["pending_config"]["served_entities"]}
    assert states == {"broken-1": "DEPLOYMENT_FAILED", "fine": "DEPLOYMENT_ABORTED"}
    refused(stack.ask("c30"), 400, "BAD_REQUEST", "first deployment failed")
    log = stack.call("GET", f"{MANAGEMENT}/c30/served-models/broken-1/build-logs").json()["logs"]
    assert "about to fail" in log
    assert 'raise RuntimeError("the weights are missing' in log
    refused(
        stack.call("GET", f"{MANAGEMENT}/c30/served-models/nope/build-logs"), 404, "RESOURCE_DOES_NOT_EXIST", "nope"
    )
    wait_for(lambda: not stack.ps("replica", "c30"), "the replicas of the failed deployment to be gone")


def test_c31_a_query_succeeds_as_soon_as_create_and_wait_returns(stack: Stack) -> None:
    workspace = stack.workspace()
    config = EndpointCoreConfigInput.from_dict(
        {
            "served_models": [
                {"model_name": MODEL, "model_version": "1", "workload_size": "Small", "scale_to_zero_enabled": False}
            ]
        }
    )
    try:
        endpoint = workspace.serving_endpoints.create_and_wait("c31", config=config)
        answer = workspace.serving_endpoints.query("c31", dataframe_records=[ROW])
        assert answer.predictions[0]["version"] == "1"
        assert answer.served_model_name == "m-1"
        assert endpoint.state.ready.value == "READY"
    finally:
        workspace.serving_endpoints.delete("c31")


def test_c41_service_log_has_what_the_model_printed(stack: Stack, live: str) -> None:
    stack.ask(live, {"dataframe_records": [{**ROW, "s": "a line for the log"}]})
    path = f"{MANAGEMENT}/{live}/served-models/m-1/logs"
    wait_for(lambda: "echo 1 saw 'a line for the log'" in stack.call("GET", path).json()["logs"], "the line in the log")
    build = stack.call("GET", f"{MANAGEMENT}/{live}/served-models/m-1/build-logs?config_version=1").json()["logs"]
    assert "echo 1 is loaded" in build
    refused(stack.call("GET", f"{path}?config_version=7"), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(stack.call("GET", f"{path}?config_version=x"), 400, "INVALID_PARAMETER_VALUE", "config_version")


def test_c43_stop_and_start(stack: Stack, create: Create) -> None:
    create("c43")
    document = stack.call("POST", f"{MANAGEMENT}/c43/config:stop").json()
    assert document["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING", "suspend": "STOPPED"}
    refused(stack.ask("c43"), 400, "BAD_REQUEST", "stopped")
    wait_for(lambda: not stack.ps("replica", "c43"), "its replicas to be gone")
    document = stack.call("POST", f"{MANAGEMENT}/c43/config:start").json()
    assert document["state"]["config_update"] == "IN_PROGRESS"
    document = stack.wait_ready("c43")
    assert document["config"]["config_version"] == 2
    assert stack.ask("c43").status_code == 200
    refused(stack.call("POST", f"{MANAGEMENT}/c43/config:start"), 400, "BAD_REQUEST", "not stopped")


def test_c46_list_items_are_summaries_and_unknown_fields_are_ignored(stack: Stack) -> None:
    body = {
        "name": "c46",
        "future_field": {"x": 1},
        "tags": [{"key": "team", "value": "blue"}, {"key": "bare"}],
        "description": "what it is for",
        "config": {"name": "c46", "served_entities": [entity("1", unknown=[1])]},
    }
    try:
        assert stack.call("POST", MANAGEMENT, body).status_code == 200
        item = next(e for e in stack.call("GET", MANAGEMENT).json()["endpoints"] if e["name"] == "c46")
        assert item["tags"] == [{"key": "team", "value": "blue"}, {"key": "bare"}]
        assert item["description"] == "what it is for"
        assert item["creator"] == "admin"
        assert set(item["state"]) == {"ready", "config_update", "suspend"}
        assert item["config"] == {
            "served_entities": [{"name": "m-1", "entity_name": MODEL, "entity_version": "1"}],
            "served_models": [{"name": "m-1", "model_name": MODEL, "model_version": "1"}],
        }
        assert re.fullmatch("[0-9a-f]{32}", item["id"])
        assert {"creation_timestamp", "last_updated_timestamp"} <= set(item)
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c46")


def test_an_alias_is_resolved_once(stack: Stack, create: Create) -> None:
    document = create("alias", entity("@champion"))
    served = document["config"]["served_entities"][0]
    assert (served["entity_version"], served["entity_alias"], served["name"]) == ("1", "champion", "m-1")


def test_an_unauthenticated_client_gets_the_right_class(stack: Stack) -> None:
    from databricks.sdk import WorkspaceClient

    with pytest.raises(Unauthenticated):
        list(WorkspaceClient(host=stack.url, token="wrong").serving_endpoints.list())


def test_entity_version_may_be_a_number(stack: Stack) -> None:
    body = {"name": "number", "config": {"served_entities": [entity(1)]}}  # type: ignore[arg-type]
    try:
        document = stack.call("POST", MANAGEMENT, body).json()
        assert document["pending_config"]["served_entities"][0]["entity_version"] == "1"
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/number")


def test_deleting_during_a_deployment_leaves_nothing_behind(stack: Stack, create: Create) -> None:
    create("gone", ready=False)
    wait_for(lambda: stack.ps("replica", "gone"), "a replica to start")
    first_id = stack.get("gone")["id"]
    assert stack.call("DELETE", f"{MANAGEMENT}/gone").status_code == 200
    create("gone")
    assert stack.get("gone")["id"] != first_id
    stack.call("DELETE", f"{MANAGEMENT}/gone")
    refused(stack.ask("gone"), 404, "RESOURCE_DOES_NOT_EXIST", "gone")
    wait_for(lambda: not stack.ps("replica", "gone"), "its replicas to be gone")
    wait_for(lambda: not (stack.home / "logs" / "gone").exists(), "its logs to be gone")
