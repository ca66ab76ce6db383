"""The metrics export, through the official SDK and a Prometheus parser. Names bear the checklist's numbers."""

from collections.abc import Callable
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from support.stack import MANAGEMENT, ROW, Stack, entity, refused, split, wait_for

Create = Callable[..., dict[str, Any]]
GAUGES = {
    "cpu_usage_percentage",
    "mem_usage_percentage",
    "provisioned_concurrent_requests_total",
    "request_count_total",
    "request_4xx_count_total",
    "request_5xx_count_total",
}


def families(stack: Stack, endpoint: str) -> dict[str, Metric]:
    text = stack.workspace().serving_endpoints.export_metrics(endpoint).contents.read().decode()
    return {family.name: family for family in parse(text)}


def value(found: dict[str, Metric], name: str, served_model: str) -> float:
    (sample,) = [s for s in found[name].samples if s.labels["served_model_name"] == served_model]
    return float(sample.value)


def test_c38_c39_the_last_minute_is_told_under_the_contracts_names(stack: Stack, create: Create) -> None:
    create("c38", entity("1"), entity("2"), traffic_config=split(m_1=100, m_2=0))
    for index in range(10):
        row = ROW if index < 7 else {"x": 1}
        assert stack.ask("c38", {"dataframe_records": [row]}).status_code == (200 if index < 7 else 400)
    found = wait_for(
        lambda: (
            (f := families(stack, "c38"))
            and f.get("cpu_usage_percentage")
            and value(f, "request_count_total", "m-1") == 10
            and f
        ),
        "ten requests in the metrics",
    )
    assert set(found) == GAUGES | {"request_latency_ms"}
    assert {found[name].type for name in GAUGES} == {"gauge"}
    assert found["request_latency_ms"].type == "histogram"
    assert value(found, "request_4xx_count_total", "m-1") == 3
    assert value(found, "request_5xx_count_total", "m-1") == 0
    assert value(found, "request_count_total", "m-2") == 0
    assert value(found, "provisioned_concurrent_requests_total", "m-1") == 4
    assert 0 < value(found, "mem_usage_percentage", "m-1") < 100
    samples = found["request_latency_ms"].samples
    of_entity = [s for s in samples if s.labels["served_model_name"] == "m-1"]
    assert next(s.value for s in of_entity if s.name.endswith("_count")) == 10
    assert next(s.value for s in of_entity if s.labels.get("le") == "+Inf") == 10
    assert next(s.value for s in of_entity if s.name.endswith("_sum")) > 0
    assert all(s.labels["endpoint_name"] == "c38" and s.timestamp for s in of_entity)

    path = f"{MANAGEMENT}/c38/metrics"
    plain = stack.call("GET", path)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    strict = stack.call("GET", path, headers={"Accept": "application/openmetrics-text"})
    assert strict.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(strict.text)} == set(found)


def test_c38_an_endpoint_without_config_has_no_metrics(stack: Stack) -> None:
    stack.call("POST", MANAGEMENT, {"name": "c38-bare"})
    try:
        assert list(parse(stack.call("GET", f"{MANAGEMENT}/c38-bare/metrics").text)) == []
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c38-bare")
    refused(stack.call("GET", f"{MANAGEMENT}/nope/metrics"), 404, "RESOURCE_DOES_NOT_EXIST")


def test_p4_2_the_predict_tier_is_in_the_metrics_of_the_stack(stack: Stack, create: Create) -> None:
    """Each principal sees the endpoints that it may see."""
    slow = {"PENSTOCK_PREDICT_TIER": "mlflow"}
    create("tiers", entity("1"), entity("2", environment_vars=slow), traffic_config=split(m_1=50, m_2=50))
    found = {family.name: family.samples for family in parse(stack.call("GET", "/metrics").text)}
    own = {name: [s.labels for s in found[name] if s.labels["endpoint_name"] == "tiers" and s.value] for name in found}
    tiers = {labels["served_model_name"]: labels["predict_tier"] for labels in own["penstock_predict_tier"]}
    assert tiers == {"m-1": "frame", "m-2": "mlflow"}
    replicas = {labels["served_model_name"]: labels["state"] for labels in own["penstock_replicas"]}
    assert replicas == {"m-1": "ready", "m-2": "ready"}

    stranger = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "metrics-reader"}).json()["token"]
    seen = stack.call("GET", "/metrics", headers={"Authorization": f"Bearer {stranger}"})
    assert (seen.status_code, "tiers" in seen.text) == (200, False)
    refused(stack.call("GET", "/metrics", headers={"Authorization": "Bearer pst_wrong"}), 401, "UNAUTHENTICATED")
