"""Client x operation x result: every public operation of the official clients, once each, on a running stack.

The marks are what `docs/compatibility.md` shows; `python tests/support/compatibility.py` writes its table from them.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlflow
import pytest
import requests
from databricks.sdk.errors import NotImplemented as SdkNotImplemented
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service import serving
from mlflow.deployments import get_deploy_client

from support.stack import MANAGEMENT, MODEL, ROW, Stack, entity, penstock, wait_for
from support.talking import serve_talking

SDK = "databricks-sdk"
MLFLOW = "mlflow.deployments"
client = pytest.mark.client


@pytest.fixture
def endpoints(stack: Stack) -> Any:
    return stack.workspace().serving_endpoints


@pytest.fixture
def deploy(databricks_environment: None) -> Any:
    return get_deploy_client("databricks")


@pytest.fixture(scope="module")
def shared(stack: Stack) -> Iterator[str]:
    """An endpoint whose settings these tests change."""
    assert (
        stack.call("POST", MANAGEMENT, {"name": "matrix", "config": {"served_entities": [entity()]}}).status_code == 200
    )
    stack.wait_ready("matrix")
    yield "matrix"
    stack.call("DELETE", f"{MANAGEMENT}/matrix")


def typed(version: str = "1") -> Any:
    return serving.ServedEntityInput(entity_name=MODEL, entity_version=version, workload_size="Small")


@contextmanager
def answers_501() -> Iterator[None]:
    with pytest.raises(SdkNotImplemented):
        yield


@client(SDK, "serving_endpoints.create")
@client(SDK, "serving_endpoints.wait_get_serving_endpoint_not_updating")
def test_sdk_create(endpoints: Any, fresh: Callable[[str], str]) -> None:
    name = fresh("matrix-create")
    config = serving.EndpointCoreConfigInput(name=name, served_entities=[typed()])
    waiter = endpoints.create(name, config=config, tags=[serving.EndpointTag("team", "a")])
    assert waiter.response.state.config_update is serving.EndpointStateConfigUpdate.IN_PROGRESS
    ready = endpoints.wait_get_serving_endpoint_not_updating(name)
    assert ready.state.ready is serving.EndpointStateReady.READY


@client(
    SDK,
    "serving_endpoints.create(config={…})",
    result="AttributeError in the SDK, nothing is sent",
    instead='`EndpointCoreConfigInput.from_dict({…})`; `w.api_client.do("POST", "/api/2.0/serving-endpoints", …)`',
)
def test_sdk_create_from_a_plain_dict(stack: Stack, endpoints: Any, fresh: Callable[[str], str]) -> None:
    config = {"served_entities": [entity()]}
    with pytest.raises(AttributeError, match="as_dict"):
        endpoints.create(fresh("matrix-dict"), config=config)
    assert stack.call("GET", f"{MANAGEMENT}/matrix-dict").status_code == 404, "nothing was sent"
    from_dict = serving.EndpointCoreConfigInput.from_dict(config)
    assert endpoints.create(fresh("matrix-from-dict"), config=from_dict).response.name == "matrix-from-dict"
    raw = stack.workspace().api_client.do("POST", MANAGEMENT, body={"name": fresh("matrix-raw"), "config": config})
    assert raw["state"]["config_update"] == "IN_PROGRESS"


@client(SDK, "serving_endpoints.create_and_wait")
@client(SDK, "serving_endpoints.update_config_and_wait")
@client(SDK, "serving_endpoints.delete")
def test_sdk_waiters(endpoints: Any, fresh: Callable[[str], str]) -> None:
    name = fresh("matrix-wait")
    config = serving.EndpointCoreConfigInput(name=name, served_entities=[typed()])
    assert endpoints.create_and_wait(name, config=config).config.config_version == 1
    assert endpoints.update_config_and_wait(name, served_entities=[typed("2")]).config.config_version == 2
    endpoints.delete(name)
    assert name not in [endpoint.name for endpoint in endpoints.list()]


@client(SDK, "serving_endpoints.list")
@client(SDK, "serving_endpoints.get")
def test_sdk_list_and_get(endpoints: Any, shared: str) -> None:
    assert shared in [endpoint.name for endpoint in endpoints.list()]
    assert endpoints.get(shared).config.served_entities[0].entity_name == MODEL


@client(SDK, "serving_endpoints.update_config")
def test_reading_a_config_and_writing_it_back_changes_nothing(
    stack: Stack, endpoints: Any, fresh: Callable[[str], str]
) -> None:
    """What a GET tells is what a PUT takes: the same replicas go on, under a new version."""
    name = fresh("matrix-again")
    first = {**entity("1"), "environment_vars": {"A": "1"}, "workload_size": "Medium", "scale_to_zero_enabled": True}
    second = {**entity("2"), "min_provisioned_concurrency": 4, "max_provisioned_concurrency": 8}
    second.pop("workload_size", None)
    routes = [{"served_model_name": f"m-{i}", "traffic_percentage": p} for i, p in ((1, 70), (2, 30))]
    config = {"served_entities": [first, second], "traffic_config": {"routes": routes}}
    assert stack.call("POST", MANAGEMENT, {"name": name, "config": config}).status_code == 200
    before = stack.wait_ready(name)["config"]
    pids = {process["pid"] for process in stack.ps("replica", name)}
    for key in ("served_entities", "served_models"):
        body = {key: before[key], "traffic_config": before["traffic_config"]}
        assert stack.call("PUT", f"{MANAGEMENT}/{name}/config", body).status_code == 200
        after = stack.wait_ready(name)["config"]
        assert _told(after) == _told(before)
    typed_again = endpoints.get(name).config
    endpoints.update_config(
        name,
        served_entities=[serving.ServedEntityInput.from_dict(e.as_dict()) for e in typed_again.served_entities],
        traffic_config=typed_again.traffic_config,
    )
    assert _told(stack.wait_ready(name)["config"]) == _told(before)
    assert {process["pid"] for process in stack.ps("replica", name)} == pids


def _told(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what is new with every version."""
    told: dict[str, Any] = json.loads(json.dumps(config))
    del told["config_version"]
    for item in (*told["served_entities"], *told["served_models"]):
        del item["creation_timestamp"]
        del item["state"]
    return told


@client(SDK, "serving_endpoints.query")
def test_sdk_query(endpoints: Any, shared: str) -> None:
    answer = endpoints.query(shared, dataframe_records=[ROW], client_request_id="cr-1", usage_context={"k": "v"})
    assert answer.predictions[0]["s"] == ROW["s"]
    assert answer.served_model_name == "m-1"


@client(
    SDK,
    "serving_endpoints.query(stream=True)",
    result="the SDK reads the stream as one JSON document and fails",
    instead="`get_open_ai_client()`, or `mlflow.deployments`' `predict_stream`",
)
def test_sdk_query_stream(stack: Stack, endpoints: Any) -> None:
    serve_talking(stack)
    message = serving.ChatMessage(role=serving.ChatMessageRole.USER, content="hi")
    with pytest.raises(Exception, match=r"Expecting value|unable to parse|JSON"):
        endpoints.query("chat_model", messages=[message], stream=True)


@client(
    SDK,
    "serving_endpoints_data_plane.query",
    result="the SDK wants OAuth and a route-optimised endpoint",
    instead="`serving_endpoints.query`",
)
def test_sdk_data_plane(stack: Stack, shared: str) -> None:
    with pytest.raises(Exception, match=r"[Dd]ata [Pp]lane"):
        stack.workspace().serving_endpoints_data_plane.query(shared, dataframe_records=[ROW])


@client(SDK, "NaN in a query", result="ValueError in the SDK, nothing is sent", instead="`None`, which is NaN there")
def test_sdk_nan(endpoints: Any, shared: str) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        endpoints.query(shared, dataframe_records=[{**ROW, "x": float("nan")}])
    assert endpoints.query(shared, dataframe_records=[{**ROW, "x": None}]).predictions[0]["x_is_nan"] is True


@client(SDK, "serving_endpoints.patch")
def test_sdk_tags(endpoints: Any, shared: str) -> None:
    tags = endpoints.patch(shared, add_tags=[serving.EndpointTag("a", "1"), serving.EndpointTag("b", "2")]).tags
    assert {tag.key: tag.value for tag in tags} == {"a": "1", "b": "2"}
    assert [tag.key for tag in endpoints.patch(shared, delete_tags=["a"]).tags] == ["b"]


@client(SDK, "serving_endpoints.put", result="works; stored only")
def test_sdk_rate_limits(endpoints: Any, shared: str) -> None:
    limit = serving.RateLimit(calls=5, renewal_period=serving.RateLimitRenewalPeriod.MINUTE)
    assert endpoints.put(shared, rate_limits=[limit]).rate_limits[0].calls == 5
    endpoints.put(shared, rate_limits=[])


@client(SDK, "serving_endpoints.put_ai_gateway", result="works; stored only")
def test_sdk_ai_gateway(endpoints: Any, shared: str) -> None:
    usage = serving.AiGatewayUsageTrackingConfig(enabled=True)
    assert endpoints.put_ai_gateway(shared, usage_tracking_config=usage).usage_tracking_config.enabled is True
    endpoints.put_ai_gateway(shared)
    assert endpoints.get(shared).ai_gateway is None


@client(SDK, "serving_endpoints.update_notifications", result="works; stored only")
def test_sdk_notifications(endpoints: Any, shared: str) -> None:
    wanted = serving.EmailNotifications(on_update_failure=["a@b.example"])
    assert endpoints.update_notifications(shared, email_notifications=wanted).name == shared
    assert endpoints.get(shared).email_notifications.on_update_failure == ["a@b.example"]


@client(SDK, "serving_endpoints.patch_telemetry_config", result="works; stored only")
def test_sdk_telemetry(endpoints: Any, shared: str) -> None:
    wanted = serving.TelemetryConfig(table_names=serving.UnityCatalogTableNames(logs_table="main.default.logs"))
    answer = endpoints.patch_telemetry_config(shared, telemetry_config=wanted)
    assert answer.telemetry_config.table_names.logs_table == "main.default.logs"
    endpoints.patch_telemetry_config(shared)


@client(SDK, "serving_endpoints.export_metrics")
def test_sdk_metrics(endpoints: Any, shared: str) -> None:
    endpoints.query(shared, dataframe_records=[ROW])

    def is_counted() -> bool:
        return "request_count_total{" in endpoints.export_metrics(shared).contents.read().decode()

    wait_for(is_counted, "the query to be counted", 10)


@client(SDK, "serving_endpoints.get_open_api")
def test_sdk_open_api(endpoints: Any, shared: str) -> None:
    assert json.loads(endpoints.get_open_api(shared).contents.read())["info"]["title"] == shared


@client(SDK, "serving_endpoints.build_logs")
@client(SDK, "serving_endpoints.logs")
def test_sdk_logs(endpoints: Any, shared: str) -> None:
    endpoints.query(shared, dataframe_records=[ROW])
    assert "is loaded" in endpoints.build_logs(shared, "m-1").logs
    assert "saw" in endpoints.logs(shared, "m-1").logs


@client(SDK, "serving_endpoints.get_permissions")
@client(SDK, "serving_endpoints.set_permissions")
@client(SDK, "serving_endpoints.update_permissions")
@client(SDK, "serving_endpoints.get_permission_levels")
def test_sdk_permissions(stack: Stack, endpoints: Any, shared: str) -> None:
    identity = endpoints.get(shared).id
    level = serving.ServingEndpointPermissionLevel

    def grant(user: str, wanted: Any) -> Any:
        return serving.ServingEndpointAccessControlRequest(user_name=user, permission_level=wanted)

    endpoints.set_permissions(identity, access_control_list=[grant("admin", level.CAN_MANAGE)])
    endpoints.update_permissions(identity, access_control_list=[grant("ann", level.CAN_VIEW)])
    told = endpoints.get_permissions(identity)
    assert {entry.user_name for entry in told.access_control_list if entry.user_name} == {"admin", "ann"}
    assert len(endpoints.get_permission_levels(identity).permission_levels) == 3
    token = penstock("tokens", "create", "--user", "ann", home=stack.home).stdout.strip()
    ann = Stack(stack.url, token, stack.home, stack.process).workspace().serving_endpoints
    assert ann.get(shared).permission_level is serving.ServingEndpointDetailedPermissionLevel.CAN_VIEW
    with pytest.raises(PermissionDenied):
        ann.query(shared, dataframe_records=[ROW])


@client(SDK, "serving_endpoints.get_langchain_chat_open_ai_client")
def test_sdk_langchain_client(stack: Stack, endpoints: Any) -> None:
    pytest.importorskip("langchain_openai", reason="LangChain's OpenAI client is not installed")
    serve_talking(stack)
    with pytest.warns(DeprecationWarning, match="databricks-langchain"):
        chat = endpoints.get_langchain_chat_open_ai_client("chat_model")
    assert chat.invoke("hi").content == "hi"


@client(SDK, "serving_endpoints.create_provisioned_throughput_endpoint", result="501 `NOT_IMPLEMENTED`")
@client(SDK, "serving_endpoints.create_provisioned_throughput_endpoint_and_wait", result="501 `NOT_IMPLEMENTED`")
@client(SDK, "serving_endpoints.update_provisioned_throughput_endpoint_config", result="501 `NOT_IMPLEMENTED`")
@client(SDK, "serving_endpoints.update_provisioned_throughput_endpoint_config_and_wait", result="501 `NOT_IMPLEMENTED`")
def test_sdk_provisioned_throughput(endpoints: Any) -> None:
    config = serving.PtEndpointCoreConfig(
        served_entities=[serving.PtServedModel(entity_name="m", entity_version="1", provisioned_model_units=50)]
    )
    with answers_501():
        endpoints.create_provisioned_throughput_endpoint("pt", config=config)
    with answers_501():
        endpoints.create_provisioned_throughput_endpoint_and_wait("pt", config=config)
    with answers_501():
        endpoints.update_provisioned_throughput_endpoint_config("pt", config=config)
    with answers_501():
        endpoints.update_provisioned_throughput_endpoint_config_and_wait("pt", config=config)


@client(SDK, "serving_endpoints.http_request", result="501 `NOT_IMPLEMENTED`")
def test_sdk_http_request(endpoints: Any) -> None:
    with answers_501():
        endpoints.http_request(conn="c", method=serving.ExternalFunctionRequestHttpMethod.GET, path="/x")


@client(SDK, "current_user.me")
@client(SDK, "get_workspace_id")
def test_sdk_who_am_i(stack: Stack) -> None:
    workspace = stack.workspace()
    assert workspace.current_user.me().user_name == "admin"
    assert workspace.get_workspace_id() > 0


@client(MLFLOW, "create_endpoint")
@client(MLFLOW, "get_endpoint")
@client(MLFLOW, "list_endpoints")
@client(MLFLOW, "delete_endpoint")
def test_mlflow_endpoints(deploy: Any, fresh: Callable[[str], str]) -> None:
    name = fresh("matrix-mlflow")
    created = deploy.create_endpoint(name=name, config={"name": name, "config": {"served_entities": [entity()]}})
    assert created["state"]["config_update"] == "IN_PROGRESS"
    assert deploy.get_endpoint(name)["name"] == name
    assert name in [endpoint["name"] for endpoint in deploy.list_endpoints()]
    assert deploy.delete_endpoint(name) == {}


@client(MLFLOW, "update_endpoint")
@client(MLFLOW, "update_endpoint_config")
def test_mlflow_update(stack: Stack, deploy: Any, fresh: Callable[[str], str]) -> None:
    name = fresh("matrix-mlflow-update")
    deploy.create_endpoint(name=name, config={"name": name, "config": {"served_entities": [entity()]}})
    stack.wait_ready(name)
    deploy.update_endpoint_config(name, config={"served_entities": [entity("2")]})
    assert stack.wait_ready(name)["config"]["served_entities"][0]["entity_version"] == "2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and in the tutorials
        deploy.update_endpoint(name, config={"served_entities": [entity("1")]})
    assert stack.wait_ready(name)["config"]["served_entities"][0]["entity_version"] == "1"


@client(MLFLOW, "update_endpoint_tags")
def test_mlflow_tags(deploy: Any, shared: str) -> None:
    answer = deploy.update_endpoint_tags(shared, config={"add_tags": [{"key": "c", "value": "3"}]})
    assert {"key": "c", "value": "3"} in answer["tags"]


@client(MLFLOW, "update_endpoint_rate_limits", result="works; stored only")
def test_mlflow_rate_limits(deploy: Any, shared: str) -> None:
    limits = [{"calls": 3, "key": "endpoint", "renewal_period": "minute"}]
    assert deploy.update_endpoint_rate_limits(shared, config={"rate_limits": limits})["rate_limits"] == limits
    deploy.update_endpoint_rate_limits(shared, config={"rate_limits": []})


@client(MLFLOW, "update_endpoint_ai_gateway", result="works; stored only")
def test_mlflow_ai_gateway(deploy: Any, shared: str) -> None:
    answer = deploy.update_endpoint_ai_gateway(shared, config={"usage_tracking_config": {"enabled": True}})
    assert answer["usage_tracking_config"] == {"enabled": True}
    deploy.update_endpoint_ai_gateway(shared, config={})


@client(MLFLOW, "predict")
def test_mlflow_predict(deploy: Any, shared: str) -> None:
    assert deploy.predict(endpoint=shared, inputs={"dataframe_records": [ROW]})["predictions"][0]["s"] == ROW["s"]
    with pytest.raises(requests.HTTPError, match="Model is missing inputs"):
        deploy.predict(endpoint=shared, inputs={"dataframe_records": [{"x": 1}]})


@client(MLFLOW, "predict_stream")
def test_mlflow_predict_stream(stack: Stack, deploy: Any) -> None:
    serve_talking(stack)
    inputs = {"messages": [{"role": "user", "content": "one two"}]}
    chunks = list(deploy.predict_stream(endpoint="chat_model", inputs=inputs))
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["one", "two"]


@client(
    MLFLOW,
    "create_deployment, get_deployment, list_deployments, update_deployment, delete_deployment, explain",
    result="NotImplementedError in MLflow: this target has endpoints, not deployments",
    instead="the operations on endpoints",
)
def test_mlflow_deployments_are_not_of_this_target(deploy: Any) -> None:
    with pytest.raises(NotImplementedError):
        deploy.create_deployment("x", "models:/m/1")
    for operation in (deploy.get_deployment, deploy.delete_deployment, deploy.update_deployment):
        with pytest.raises(NotImplementedError):
            operation("x")
    for without_name in (deploy.list_deployments, deploy.explain):
        with pytest.raises((NotImplementedError, mlflow.MlflowException)):
            without_name()
