"""The metrics export, through the official SDK and a Prometheus parser. Names bear the checklist's numbers."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from support.linear_model import register_linear
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
HISTOGRAMS = {"request_latency_ms", "model_queue_time_ms", "model_prediction_latency_ms"}


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
    assert set(found) == GAUGES | HISTOGRAMS
    assert {found[name].type for name in GAUGES} == {"gauge"}
    assert {found[name].type for name in HISTOGRAMS} == {"histogram"}
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


def test_p5_5_where_the_time_of_requests_goes(stack: Stack, create: Create) -> None:
    """In the contract's metrics and in the stack's; what no replica answered took no model any time."""
    create("parts", entity("1"))
    for _ in range(5):
        assert stack.ask("parts", {"dataframe_records": [ROW]}).status_code == 200

    def sums() -> dict[str, dict[str, float]] | None:
        found = families(stack, "parts")
        told = {
            n: {s.name.removeprefix(n): s.value for s in found[n].samples if "le" not in s.labels} for n in HISTOGRAMS
        }
        return told if told["request_latency_ms"]["_count"] == 5 else None

    told = wait_for(sums, "five requests in the metrics")
    assert {parts["_count"] for parts in told.values()} == {5}
    whole, model = told["request_latency_ms"]["_sum"], told["model_prediction_latency_ms"]["_sum"]
    assert 0 < model < whole
    assert told["model_queue_time_ms"]["_sum"] + model <= whole

    samples = [s for f in scraped(stack).values() for s in f.samples if s.labels.get("endpoint_name") == "parts"]
    seconds = {s.labels["part"]: s.value for s in samples if s.name == "penstock_request_seconds_total"}
    assert sum(seconds.values()) == pytest.approx(whole / 1000, rel=1e-3)
    assert seconds["model"] == pytest.approx(model / 1000, rel=1e-3)
    outcomes = {s.labels["outcome"]: s.value for s in samples if s.name == "penstock_requests_total"}
    assert outcomes == {"ok": 5, "4xx": 0, "5xx": 0}


def scraped(stack: Stack) -> dict[str, Metric]:
    return {family.name: family for family in parse(stack.call("GET", "/metrics").text)}


def test_p5_5_every_process_is_in_the_metrics_of_the_stack(stack: Stack, create: Create) -> None:
    create("procs", entity("1"))
    assert stack.ask("procs", {"dataframe_records": [ROW]}).status_code == 200
    refused(stack.call("GET", "/metrics", headers={"Authorization": "Bearer pst_wrong"}), 401, "UNAUTHENTICATED")

    def running() -> set[str]:
        return {p["name"] for p in stack.call("GET", "/api/2.0/penstock/ps").json()["processes"] if p["pid"]}

    before = running()

    def told() -> dict[str, Metric] | None:
        found = scraped(stack)
        refusals = found["penstock_refused"].samples if "penstock_refused" in found else []
        return found if "UNAUTHENTICATED" in {s.labels["error_code"] for s in refusals} else None

    found = wait_for(told, "the refusal in the metrics")
    lasting = before & running()  # those of endpoints that other tests have deleted come to their end meanwhile
    for family in ("cpu_seconds", "resident_memory_bytes", "open_files", "start_time_seconds"):
        values = {s.labels["name"]: s.value for s in found[f"penstock_process_{family}"].samples}
        assert all(values[name] > 0 for name in lasting), (family, values)
    restarts = found["penstock_process_restarts"].samples
    assert {s.labels["role"] for s in restarts} >= {"supervisor", "gateway", "control-plane", "mlflow", "replica"}
    (own,) = [s for s in found["penstock_process_up"].samples if s.labels["endpoint_name"] == "procs"]
    assert (own.labels["role"], own.labels["served_model_name"], own.value) == ("replica", "m-1", 1)
    servers = {s.labels["server"]: s.value for s in found["penstock_passed_on"].samples}
    assert servers["control plane"] > 0
    assert sum(s.value for s in found["penstock_connections"].samples) >= 1
    events = found["penstock_events"].samples
    ready = [s.value for s in events if s.labels == {"endpoint_name": "procs", "kind": "REPLICA_READY"}]
    assert ready == [1]

    strict = stack.call("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert {family.name for family in parse_openmetrics(strict.text)} >= set(found)


def test_c38_an_endpoint_without_config_has_no_metrics(stack: Stack) -> None:
    stack.call("POST", MANAGEMENT, {"name": "c38-bare"})
    try:
        assert list(parse(stack.call("GET", f"{MANAGEMENT}/c38-bare/metrics").text)) == []
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/c38-bare")
    refused(stack.call("GET", f"{MANAGEMENT}/nope/metrics"), 404, "RESOURCE_DOES_NOT_EXIST")


def test_p4_2_the_predict_tier_is_in_the_metrics_of_the_stack(stack: Stack, create: Create) -> None:
    """Each principal sees the endpoints that it may see."""
    register_linear("tiered")
    quick = {"entity_name": "tiered", "entity_version": "1", "workload_size": "Small", "name": "quick"}
    slow = {**quick, "name": "slow", "environment_vars": {"PENSTOCK_PREDICT_TIER": "frame"}}
    create("tiers", quick, slow, entity("1", "echo"), traffic_config=split(quick=50, slow=50, echo=0))
    found = {name: family.samples for name, family in scraped(stack).items()}
    own = {
        name: [s.labels for s in found[name] if s.labels.get("endpoint_name") == "tiers" and s.value] for name in found
    }
    tiers = {labels["served_model_name"]: labels["predict_tier"] for labels in own["penstock_predict_tier"]}
    assert tiers == {"quick": "kernel", "slow": "frame", "echo": "mlflow"}
    replicas = {labels["served_model_name"]: labels["state"] for labels in own["penstock_replicas"]}
    assert replicas == dict.fromkeys(tiers, "ready")

    stranger = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "metrics-reader"}).json()["token"]
    seen = stack.call("GET", "/metrics", headers={"Authorization": f"Bearer {stranger}"})
    assert (seen.status_code, "tiers" in seen.text) == (200, False)
    refused(stack.call("GET", "/metrics", headers={"Authorization": "Bearer pst_wrong"}), 401, "UNAUTHENTICATED")
