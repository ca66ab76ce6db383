"""What an endpoint carries beside its config, through the SDK and as JSON. Names bear the checklist's numbers."""

from collections.abc import Iterator
from typing import Any

import pytest
from databricks.sdk.errors import InvalidParameterValue
from databricks.sdk.service.serving import (
    AiGatewayInferenceTableConfig,
    AiGatewayRateLimit,
    AiGatewayRateLimitRenewalPeriod,
    AiGatewayUsageTrackingConfig,
    EmailNotifications,
    EndpointTag,
    RateLimit,
    RateLimitRenewalPeriod,
)
from mlflow.deployments import get_deploy_client

from support.stack import MANAGEMENT, Stack, entity, refused


@pytest.fixture
def bare(stack: Stack) -> Iterator[str]:
    """An endpoint without config."""
    assert stack.call("POST", MANAGEMENT, {"name": "bare"}).status_code == 200
    yield "bare"
    stack.call("DELETE", f"{MANAGEMENT}/bare")


@pytest.mark.usefixtures("databricks_environment")
def test_c32_tags_are_added_changed_and_deleted(stack: Stack, bare: str) -> None:
    endpoints = stack.workspace().serving_endpoints
    tags = endpoints.patch(bare, add_tags=[EndpointTag("team", "blue"), EndpointTag("old")]).tags
    assert [(tag.key, tag.value) for tag in tags or []] == [("team", "blue"), ("old", None)]
    patched = stack.call(
        "PATCH",
        f"{MANAGEMENT}/{bare}/tags",
        {"add_tags": [{"key": "team", "value": "red"}, {"key": "new"}], "delete_tags": ["old", "never there"]},
    )
    expected = [{"key": "team", "value": "red"}, {"key": "new"}]
    assert patched.json() == {"tags": expected}
    assert stack.get(bare)["tags"] == expected
    get_deploy_client("databricks").update_endpoint_tags(bare, {"delete_tags": ["new"]})
    assert stack.get(bare)["tags"] == expected[:1]
    twice = stack.call("PATCH", f"{MANAGEMENT}/{bare}/tags", {"add_tags": [{"key": "a"}, {"key": "a"}]})
    refused(twice, 400, "INVALID_PARAMETER_VALUE", "add_tags[1].key")
    many = {"add_tags": [{"key": f"k{index}"} for index in range(51)]}
    refused(stack.call("PATCH", f"{MANAGEMENT}/{bare}/tags", many), 400, "INVALID_PARAMETER_VALUE", "50")
    assert stack.get(bare)["tags"] == expected[:1]


def test_c33_rate_limits_of_the_older_route(stack: Stack, bare: str) -> None:
    limit = RateLimit(calls=3, renewal_period=RateLimitRenewalPeriod.MINUTE)
    answer = stack.workspace().serving_endpoints.put(bare, rate_limits=[limit])
    assert answer.rate_limits is not None
    assert (answer.rate_limits[0].calls, answer.rate_limits[0].key.value) == (3, "endpoint")
    expected = [{"calls": 3, "key": "endpoint", "renewal_period": "minute"}]
    assert stack.get(bare)["rate_limits"] == expected
    assert stack.call("PUT", f"{MANAGEMENT}/{bare}/rate-limits", {}).json() == {"rate_limits": []}
    assert "rate_limits" not in stack.get(bare)
    for bad, field in (({"calls": -1}, "calls"), ({"calls": 1, "key": "tenant"}, "key"), ({}, "calls")):
        answer = stack.call("PUT", f"{MANAGEMENT}/{bare}/rate-limits", {"rate_limits": [bad]})
        refused(answer, 400, "INVALID_PARAMETER_VALUE", f"rate_limits[0].{field}")


def test_c34_ai_gateway_is_replaced_and_cleared(stack: Stack, bare: str) -> None:
    stack.workspace().serving_endpoints.put_ai_gateway(
        bare,
        usage_tracking_config=AiGatewayUsageTrackingConfig(enabled=True),
        rate_limits=[AiGatewayRateLimit(calls=5, renewal_period=AiGatewayRateLimitRenewalPeriod.MINUTE)],
        inference_table_config=AiGatewayInferenceTableConfig(enabled=True, catalog_name="main", schema_name="default"),
    )
    stored = stack.get(bare)["ai_gateway"]
    assert stored == {
        "usage_tracking_config": {"enabled": True},
        "rate_limits": [{"calls": 5, "renewal_period": "minute", "key": "endpoint"}],
        "inference_table_config": {
            "enabled": True,
            "catalog_name": "main",
            "schema_name": "default",
            "table_name_prefix": "bare",
        },
    }
    path = f"{MANAGEMENT}/{bare}/ai-gateway"
    assert stack.call("PUT", path, stored).json() == stored == stack.get(bare)["ai_gateway"]
    guarded: dict[str, Any] = {
        "guardrails": {"input": {"pii": {"behavior": "BLOCK"}, "invalid_keywords": ["x"]}, "output": {"safety": True}},
        "fallback_config": {"enabled": False},
    }
    assert stack.call("PUT", path, guarded).json() == guarded == stack.get(bare)["ai_gateway"]
    assert stack.call("PUT", path, {}).json() == {}
    assert "ai_gateway" not in stack.get(bare)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rate_limits": [{"renewal_period": "minute"}]}, "rate_limits[0]"),
        ({"rate_limits": [{"calls": 1}]}, "rate_limits[0].renewal_period"),
        ({"rate_limits": [{"calls": 1, "renewal_period": "hour"}]}, "rate_limits[0].renewal_period"),
        ({"rate_limits": [{"calls": 1, "renewal_period": "minute", "key": "user_group"}]}, "rate_limits[0].principal"),
        ({"rate_limits": [{"calls": 1, "renewal_period": "minute", "principal": "a"}]}, "rate_limits[0].principal"),
        ({"guardrails": {"input": {"pii": {"behavior": "SHOUT"}}}}, "guardrails.input.pii.behavior"),
        ({"usage_tracking_config": {"enabled": "yes"}}, "usage_tracking_config.enabled"),
        ({"inference_table_config": {"enabled": True, "catalog_name": "c"}}, "inference_table_config.schema_name"),
    ],
)
def test_c34_what_an_ai_gateway_may_not_hold(stack: Stack, bare: str, body: dict[str, Any], field: str) -> None:
    refused(stack.call("PUT", f"{MANAGEMENT}/{bare}/ai-gateway", body), 400, "INVALID_PARAMETER_VALUE", field)
    created = stack.call("POST", MANAGEMENT, {"name": "bad-gateway", "ai_gateway": body})
    refused(created, 400, "INVALID_PARAMETER_VALUE", field)
    assert "ai_gateway" not in stack.get(bare)


def test_c78_an_enabled_inference_table_cannot_be_moved(stack: Stack, bare: str) -> None:
    path = f"{MANAGEMENT}/{bare}/ai-gateway"
    table = {"enabled": True, "catalog_name": "main", "schema_name": "a"}
    assert stack.call("PUT", path, {"inference_table_config": table}).status_code == 200
    moved = {"inference_table_config": {**table, "schema_name": "b"}}
    refused(stack.call("PUT", path, moved), 400, "INVALID_PARAMETER_VALUE", "schema_name", "disable")
    assert stack.call("PUT", path, {"inference_table_config": {**table, "enabled": False}}).status_code == 200
    assert stack.call("PUT", path, moved).json()["inference_table_config"]["schema_name"] == "b"


def test_c35_notifications(stack: Stack, bare: str) -> None:
    answer = stack.workspace().serving_endpoints.update_notifications(
        bare, email_notifications=EmailNotifications(on_update_failure=["ops@example.com"])
    )
    assert answer.name == bare
    assert answer.email_notifications is not None
    assert answer.email_notifications.on_update_failure == ["ops@example.com"]
    assert stack.get(bare)["email_notifications"] == {"on_update_failure": ["ops@example.com"]}


def test_telemetry_is_kept_and_removed(stack: Stack, bare: str, live: str) -> None:
    path = f"{MANAGEMENT}/{live}/telemetry-config"
    config = {
        "enabled_telemetry_features": ["TELEMETRY_FEATURE_LOGS"],
        "inference_table_config": {"sampling_fraction": 0.25},
        "table_names": {"logs_table": "main.default.logs"},
    }
    assert stack.call("PATCH", path, {"telemetry_config": config}).json()["telemetry_config"] == config
    assert stack.get(live)["telemetry_config"] == config
    for bad, field in (
        ({"inference_table_config": {"sampling_fraction": 1.5}}, "telemetry_config.inference_table_config"),
        ({"enabled_telemetry_features": ["ALL"]}, "telemetry_config.enabled_telemetry_features[0]"),
        ({"table_names": {}, "telemetry_profile_id": "x"}, "telemetry_config"),
    ):
        answer = stack.call("PATCH", path, {"telemetry_config": bad})
        refused(answer, 400, "INVALID_PARAMETER_VALUE", field)
    assert "telemetry_config" not in stack.call("PATCH", path, {}).json()
    refused(
        stack.call("PATCH", f"{MANAGEMENT}/{bare}/telemetry-config", {"telemetry_config": config}),
        400,
        "INVALID_PARAMETER_VALUE",
        "serves no model",
    )


def test_a_create_takes_all_of_them_and_gives_them_back(stack: Stack) -> None:
    settings = {
        "tags": [{"key": "a", "value": "b"}],
        "email_notifications": {"on_update_success": ["x@example.com"]},
        "rate_limits": [{"calls": 1, "key": "user", "renewal_period": "minute"}],
        "ai_gateway": {"usage_tracking_config": {"enabled": False}},
        "telemetry_config": {"telemetry_profile_id": "p"},
        "description": "all of it",
        "budget_policy_id": "policy",
        "route_optimized": True,
    }
    try:
        created = stack.call(
            "POST", MANAGEMENT, {"name": "full", "config": {"served_entities": [entity()]}, **settings}
        )
        assert settings.items() <= created.json().items()
        assert settings.items() <= stack.get("full").items()
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/full")


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("PATCH", "tags"),
        ("PATCH", "notifications"),
        ("PUT", "rate-limits"),
        ("PUT", "ai-gateway"),
        ("PATCH", "telemetry-config"),
    ],
)
def test_settings_of_an_endpoint_that_does_not_exist(stack: Stack, method: str, rest: str) -> None:
    refused(stack.call(method, f"{MANAGEMENT}/nope/{rest}", {}), 404, "RESOURCE_DOES_NOT_EXIST", "nope")
    refused(stack.call(method, f"{MANAGEMENT}/nope/{rest}", []), 400, "INVALID_PARAMETER_VALUE")


def test_the_sdk_raises_the_right_class_for_a_bad_setting(stack: Stack, bare: str) -> None:
    limit = AiGatewayRateLimit(renewal_period=AiGatewayRateLimitRenewalPeriod.MINUTE)
    with pytest.raises(InvalidParameterValue):
        stack.workspace().serving_endpoints.put_ai_gateway(bare, rate_limits=[limit])
