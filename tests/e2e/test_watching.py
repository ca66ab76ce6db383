"""What a stack tells of itself beyond now: traces, the audit log, and the past of its metrics, over a restart."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from penstock.client.table_writer import flush
from penstock.wire.sockets import SocketFolder
from support.collector import Collector, attributes, collecting
from support.stack import MANAGEMENT, Stack, register_code, registry_of, start_stack, wait_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "canary-" + secrets.token_hex(8)
BODY = {"inputs": [1.0]}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    """A stack that sends traces, with the endpoint `traced`, one of whose variables is a secret."""
    home = Path(tmp_path_factory.mktemp("watched")) / "home"
    stack = start_stack(home, env=environment(collector))
    try:
        with registry_of(stack):
            register_code("traced", "traced_model.py")
        stack.call("POST", "/api/2.0/secrets/scopes/create", {"scope": "keys"})
        stack.call("POST", "/api/2.0/secrets/put", {"scope": "keys", "key": "api", "string_value": CANARY})
        served = {
            "entity_name": "traced",
            "entity_version": "1",
            "environment_vars": {"API_KEY": "{{secrets/keys/api}}", "PLAIN": CANARY},
        }
        answer = stack.call("POST", MANAGEMENT, {"name": "traced", "config": {"served_entities": [served]}})
        assert answer.status_code == 200, answer.text
        stack.wait_ready("traced")
        yield stack
    finally:
        stack.stop()


def environment(collector: Collector) -> dict[str, str]:
    return {"PENSTOCK_OTLP_ENDPOINT": collector.address}


def test_p5_5_a_prediction_joins_the_trace_of_its_caller_and_the_model_sees_it(
    watched: Stack, collector: Collector
) -> None:
    answer = watched.ask("traced", BODY, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
    assert answer.status_code == 200, answer.text
    trace_id, model_span, parent_of_mlflows = answer.json()["predictions"]
    assert (trace_id, parent_of_mlflows) == (TRACE, "None")

    spans = wait_for(lambda: len(found := collector.of_trace(TRACE)) == 3 and found, "three spans")
    whole, model = spans["predict traced"], spans["model"]
    assert whole.parent_span_id.hex() == SPAN
    assert (model.span_id.hex(), model.parent_span_id) == (model_span, whole.span_id)
    assert spans["queue"].parent_span_id == whole.span_id
    assert whole.start_time_unix_nano <= model.start_time_unix_nano <= model.end_time_unix_nano
    assert model.end_time_unix_nano <= whole.end_time_unix_nano
    told = {"penstock.endpoint": "traced", "penstock.served_entity": "traced-1", "http.response.status_code": 200}
    assert attributes(whole) == told

    unsampled = watched.ask("traced", BODY, headers={"traceparent": f"00-{TRACE[::-1]}-{SPAN}-00"})
    assert unsampled.json()["predictions"][0] == TRACE[::-1]
    own = watched.ask("traced", BODY).json()["predictions"][0]
    wait_for(lambda: len(collector.of_trace(own)) == 3, "the spans of a trace of our own")
    assert not collector.of_trace(TRACE[::-1])


def audit(stack: Stack) -> list[dict[str, Any]]:
    """The rows of the audit log, once all that was told is in them."""
    asyncio.run(flush(SocketFolder(stack.home / "run"), 60))
    table = DeltaTable(str(stack.home / "warehouse/system/access/audit"))
    rows: list[dict[str, Any]] = table.to_pyarrow_dataset().to_table().to_pylist()
    return rows


def test_p5_7_who_did_and_read_what_is_a_row_each_and_no_secret_is_in_any(watched: Stack) -> None:
    made = watched.call("POST", "/api/2.0/penstock/tokens", {"user": "ann", "comment": CANARY}).json()
    ann = {"Authorization": f"Bearer {made['token']}", "User-Agent": "ann's program"}
    assert watched.call("GET", f"{MANAGEMENT}/traced", headers=ann).status_code == 403
    assert watched.call("GET", f"{MANAGEMENT}/traced").status_code == 200
    for number in range(80):
        wrong = {"Authorization": f"Bearer {CANARY}", "User-Agent": f"stranger {number}"}
        assert watched.call("GET", f"{MANAGEMENT}/traced?token={CANARY}", headers=wrong).status_code == 401

    def failed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if row["action_name"] == "tokenLogin"]

    rows = wait_for(lambda: failed(found := audit(watched)) and found, "the failures in the table")
    by_action = {row["action_name"]: row for row in rows}
    created = by_action["createServingEndpoint"]
    assert created["service_name"] == "serverlessRealTimeInference"
    assert created["user_identity"] == {"email": "admin", "subject_name": None}
    assert dict(created["request_params"])["served_entities"] == "traced/1"
    assert created["response"]["status_code"] == 200
    assert created["source_ip_address"] == "127.0.0.1"
    assert created["identity_metadata"]["acting_resource"].startswith("tokens/")
    assert dict(by_action["putSecret"]["request_params"]) == {
        "scope": "keys",
        "key": "api",
        "fields": "key, scope, string_value",
    }
    used = by_action["getSecret"]
    assert used["user_identity"]["email"] == "System-User"
    params = dict(used["request_params"])
    assert (params["scope"], params["key"], params["endpoint_name"]) == ("keys", "api", "traced")
    assert dict(by_action["generateDbToken"]["request_params"])["user"] == "ann"
    reads = [row for row in rows if row["action_name"] == "getServingEndpoint" and row["user_agent"] == "ann's program"]
    assert [(r["user_identity"]["email"], r["response"]["status_code"]) for r in reads] == [("ann", 403)]
    assert reads[0]["response"]["error_message"] == "PERMISSION_DENIED"
    assert reads[0]["identity_metadata"]["acting_resource"] == f"tokens/{made['id']}"

    failures = failed(rows)
    assert 1 <= len(failures) <= 60  # bounded
    assert {dict(row["request_params"])["path"] for row in failures} == {f"{MANAGEMENT}/traced"}
    assert {row["response"]["status_code"] for row in failures} == {401}
    kept = [watched.home / "warehouse/system", watched.home / "spool"]
    for file in (file for folder in kept for file in folder.rglob("*") if file.is_file()):
        assert CANARY.encode() not in file.read_bytes(), file


def test_p5_5_the_past_of_metrics_survives_a_restart(watched: Stack, collector: Collector) -> None:
    path = f"{MANAGEMENT}/traced/metrics/history"
    for _ in range(7):
        assert watched.ask("traced", BODY).status_code == 200
    assert watched.ask("traced", {"wrong": 1}).status_code == 400

    def asked(stack: Stack) -> int:
        text = stack.call("GET", f"{MANAGEMENT}/traced/metrics").text
        counts = [line for line in text.splitlines() if line.startswith("request_count_total{")]
        return int(float(counts[0].split()[1]))

    count = wait_for(lambda: (n := asked(watched)) >= 8 and n, "the requests in the metrics")
    watched.stop()
    again = start_stack(watched.home, env=environment(collector))
    watched.process, watched.url = again.process, again.url
    watched.wait_ready("traced")

    told = watched.call("GET", path).json()
    assert (told["endpoint_name"], told["resolution_s"]) == ("traced", 60)
    (served,) = told["served_entities"]
    points = served["points"]
    assert served["name"] == "traced-1"
    assert sum(point["requests"] for point in points) >= count
    assert sum(point["requests_4xx"] for point in points) == 1
    busy = next(point for point in points if point["requests"])
    parts = busy["queue_time_ms"]["mean"] + busy["gateway_latency_ms"]["mean"]
    assert 0 < busy["model_latency_ms"]["mean"] < busy["latency_ms"]["mean"]
    assert 0 < parts < busy["latency_ms"]["mean"]
    assert busy["latency_ms"]["p50"] <= busy["latency_ms"]["p99"]

    def most_replicas() -> int:
        (entity,) = watched.call("GET", path).json()["served_entities"]
        return max(point.get("replicas", {}).get("max", 0) for point in entity["points"])

    wait_for(lambda: most_replicas() == 1, "a minute in which the replica was seen", 90)

    coarse = watched.call("GET", path, params={"resolution": "600"}).json()
    assert coarse["resolution_s"] == 600
    assert sum(p["requests"] for p in coarse["served_entities"][0]["points"]) == sum(p["requests"] for p in points)
    assert watched.call("GET", path, params={"to": "60"}).json()["served_entities"] == []
    for wrong in ({"resolution": "7"}, {"resolution": "61"}, {"from": "x"}, {"to": "-1"}):
        assert watched.call("GET", path, params=wrong).json()["error_code"] == "INVALID_PARAMETER_VALUE", wrong
    missing = watched.call("GET", path.replace("traced", "nope"))
    assert (missing.status_code, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
