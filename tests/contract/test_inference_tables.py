"""Inference tables as the contract has them. Names bear the numbers of the checklist."""

import asyncio
import datetime
import json
import os
import signal
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from databricks.sdk.service.serving import AutoCaptureConfigInput, EndpointCoreConfigInput, ServedEntityInput
from deltalake import DeltaTable

from penstock.client.table_writer import flush
from penstock.wire.sockets import SocketFolder
from support.spooled import rows_of
from support.stack import MANAGEMENT, MODEL, QUERY, ROW, Stack, entity, refused, wait_for

Row = dict[str, Any]
Create = Callable[..., dict[str, Any]]


def flushed(stack: Stack) -> None:
    """All that was answered is in its table."""
    assert asyncio.run(flush(SocketFolder(stack.home / "run"), 60)).parked_tables == []


def rows(stack: Stack, *name: str) -> list[Row]:
    """The rows of a table, after a flush, in the order of their times."""
    flushed(stack)
    found = rows_of(stack.home.joinpath("warehouse", *name))
    return sorted(found, key=lambda row: row.get("request_time") or row.get("timestamp_ms"))


def log_into_a_table(stack: Stack, endpoint: str, **table: str) -> None:
    """Turn on the AI Gateway's table, and wait until gateways know."""
    body = {"inference_table_config": {"enabled": True, **table}, "usage_tracking_config": {"enabled": True}}
    answer = stack.call("PUT", f"{MANAGEMENT}/{endpoint}/ai-gateway", body)
    assert answer.status_code == 200, answer.text
    path = stack.home.joinpath("warehouse", "main", "default", f"{endpoint}_payload")

    def is_logged() -> bool:
        stack.ask(endpoint)
        flushed(stack)
        return path.exists()

    wait_for(is_logged, "the first row")


@pytest.fixture(scope="module")
def logged(stack: Stack) -> str:
    """An endpoint whose predictions are logged; the first of them are not the tests'."""
    config = {"served_entities": [entity()]}
    assert stack.call("POST", MANAGEMENT, {"name": "logged", "config": config}).status_code == 200
    stack.wait_ready("logged")
    log_into_a_table(stack, "logged")
    return "logged"


def last_row(stack: Stack, request_id: str) -> Row:
    """The one row of a request."""
    (row,) = [r for r in rows(stack, "main", "default", "logged_payload") if r["databricks_request_id"] == request_id]
    return row


def test_c75_each_request_is_one_row_with_the_columns_and_types_of_the_contract(stack: Stack, logged: str) -> None:
    mine = str(uuid.uuid4())
    body = {"dataframe_records": [ROW], "client_request_id": mine, "usage_context": {"team": "blue"}}
    answer = stack.ask(logged, body)
    assert answer.status_code == 200
    row = last_row(stack, answer.headers["databricks-request-id"])
    table = DeltaTable(str(stack.home / "warehouse" / "main" / "default" / "logged_payload"))
    assert [(field.name, field.type) for field in pa.schema(table.schema().to_arrow())] == [
        ("databricks_request_id", pa.string()),
        ("request_date", pa.date32()),
        ("client_request_id", pa.string()),
        ("request_time", pa.timestamp("us", "UTC")),
        ("status_code", pa.int32()),
        ("sampling_fraction", pa.float64()),
        ("execution_duration_ms", pa.int64()),
        ("request", pa.string()),
        ("response", pa.string()),
        ("logging_error_codes", pa.list_(pa.field("element", pa.string()))),
        ("served_entity_id", pa.string()),
        ("requester", pa.string()),
    ]
    assert table.metadata().configuration["delta.appendOnly"] == "true"
    assert table.metadata().configuration["delta.enableChangeDataFeed"] == "true"
    assert table.metadata().partition_columns == ["request_date"]
    assert row["databricks_request_id"] == answer.headers["x-databricks-request-id"]
    assert json.loads(row["request"]) == body
    assert json.loads(row["response"]) == answer.json()
    assert (row["client_request_id"], row["status_code"], row["sampling_fraction"]) == (mine, 200, 1.0)
    assert (row["logging_error_codes"], row["requester"]) == ([], "admin")
    assert len(bytes.fromhex(row["served_entity_id"])) == 16
    now = datetime.datetime.now(datetime.UTC)
    assert row["request_date"] == row["request_time"].date()
    assert abs((now - row["request_time"]).total_seconds()) < 600
    assert 0 <= row["execution_duration_ms"] < 600_000
    (used,) = [
        used
        for used in rows(stack, "system", "serving", "endpoint_usage")
        if used["databricks_request_id"] == row["databricks_request_id"]
    ]
    assert (used["client_request_id"], used["usage_context"]) == (mine, [("team", "blue")])
    assert (used["served_entity_id"], used["request_streaming"]) == (row["served_entity_id"], False)


def test_p5_3_served_entities_are_told_with_their_config_and_their_end(stack: Stack, create: Create) -> None:
    create("passing", {**entity(), "workload_size": "Medium"})
    identity = stack.get("passing")["id"]

    def told(count: int) -> list[Row]:
        flushed(stack)
        where = stack.home / "warehouse" / "system" / "serving" / "served_entities"
        found = [row for row in rows_of(where) if row["endpoint_id"] == identity] if where.exists() else []
        return found if len(found) == count else []

    (row,) = wait_for(lambda: told(1), "the row")
    assert (row["endpoint_name"], row["entity_name"], row["entity_version"]) == ("passing", MODEL, "1")
    assert (row["entity_type"], row["endpoint_config_version"], row["endpoint_delete_time"]) == (
        "CUSTOM_MODEL",
        1,
        None,
    )
    assert row["custom_model_config"] == {"min_concurrency": 8, "max_concurrency": 16, "compute_type": "CPU"}
    stack.call("DELETE", f"{MANAGEMENT}/passing")
    again = [row for row in wait_for(lambda: told(2), "its end") if row["endpoint_delete_time"] is not None]
    assert [row["served_entity_id"] for row in again] == [row["served_entity_id"]]


def test_c76_errors_of_the_model_are_logged_with_status_and_body(stack: Stack, logged: str) -> None:
    answer = stack.ask(logged, {"dataframe_records": [{**ROW, "s": "raise"}]})
    assert answer.status_code == 400
    row = last_row(stack, answer.headers["databricks-request-id"])
    assert (row["status_code"], json.loads(row["response"])) == (400, answer.json())
    assert json.loads(row["request"])["dataframe_records"][0]["s"] == "raise"


def test_c77_a_large_request_is_null_and_says_so(stack: Stack, logged: str) -> None:
    answer = stack.ask(logged, {"dataframe_records": [{**ROW, "s": "a" * (2 << 20)}]})
    assert answer.status_code == 200
    row = last_row(stack, answer.headers["databricks-request-id"])
    assert (row["request"], row["response"]) == (None, None)
    assert row["logging_error_codes"] == ["MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"]


def test_p5_3_bodies_that_are_not_utf8_are_null_and_say_so(stack: Stack, logged: str) -> None:
    headers = {**stack.headers, "Content-Type": "application/json"}
    answer = stack.call("POST", f"{QUERY}/{logged}/invocations", headers=headers, data=b"\xff\xfe")
    assert answer.status_code == 400
    row = last_row(stack, answer.headers["databricks-request-id"])
    assert (row["request"], row["logging_error_codes"]) == (None, ["REQUEST_NOT_UTF8"])
    assert json.loads(row["response"])["error_code"] == "BAD_REQUEST"


def test_c78_a_table_is_moved_by_turning_it_off_and_on(stack: Stack, create: Create) -> None:
    create("moving")
    path = f"{MANAGEMENT}/moving/ai-gateway"

    def put(enabled: bool, schema: str) -> Any:
        table = {"enabled": enabled, "catalog_name": "main", "schema_name": schema}
        return stack.call("PUT", path, {"inference_table_config": table})

    assert put(True, "one").status_code == 200
    refused(put(True, "two"), 400, "INVALID_PARAMETER_VALUE", "schema_name")
    assert put(False, "one").status_code == 200
    assert put(True, "two").status_code == 200
    assert stack.ask("moving").status_code == 200
    moved = stack.home / "warehouse" / "main" / "two" / "moving_payload"

    def is_logged() -> bool:
        stack.ask("moving")
        flushed(stack)
        return moved.exists()

    wait_for(is_logged, "rows in the new place")


def test_c79_the_legacy_table_has_its_own_columns_and_rules(stack: Stack, create: Create) -> None:
    capture = {"table_name_prefix": "old", "enabled": True}
    create("captured", auto_capture_config=capture)
    answer = stack.ask("captured")
    request_id = answer.headers["databricks-request-id"]

    def found() -> list[Row]:
        where = "main", "default", "old_payload"
        flushed(stack)
        there = rows(stack, *where) if stack.home.joinpath("warehouse", *where).exists() else []
        return [row for row in there if row["databricks_request_id"] == request_id]

    (row,) = wait_for(found, "the row")
    config = stack.get("captured")["config"]["auto_capture_config"]
    names = {"catalog_name": "main", "schema_name": "default", "table_name_prefix": "old", "enabled": True}
    ready = {"payload_table": {"name": "old_payload", "status": "READY", "status_message": ""}}
    assert config == {**names, "state": ready}
    assert list(row) == [
        *("databricks_request_id", "client_request_id", "date", "timestamp_ms", "status_code", "sampling_fraction"),
        *("execution_time_ms", "request", "response", "request_metadata"),
    ]
    assert dict(row["request_metadata"]) == {"endpoint_name": "captured", "model_name": MODEL, "model_version": "1"}
    assert json.loads(row["response"]) == answer.json()
    assert (row["status_code"], row["date"].toordinal()) == (200, 719163 + row["timestamp_ms"] // 86_400_000)
    table = DeltaTable(str(stack.home / "warehouse" / "main" / "default" / "old_payload"))
    assert table.metadata().partition_columns == ["date"]

    endpoints = stack.workspace().serving_endpoints
    served = [ServedEntityInput(entity_name=MODEL, entity_version="1")]

    def update(**given: Any) -> Any:
        body = EndpointCoreConfigInput(
            name="captured", served_entities=served, auto_capture_config=AutoCaptureConfigInput(**given)
        ).as_dict()
        return stack.call("PUT", f"{MANAGEMENT}/captured/config", body)

    refused(update(table_name_prefix="new"), 400, "INVALID_PARAMETER_VALUE", "auto_capture_config")
    same = {"inference_table_config": {"enabled": True, "table_name_prefix": "old"}}
    answer = stack.call("PUT", f"{MANAGEMENT}/captured/ai-gateway", same)
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "table_name_prefix")
    both = {"name": "both", "config": {"served_entities": [entity()], "auto_capture_config": {}}}
    ours = {"inference_table_config": {"enabled": True}}
    refused(stack.call("POST", MANAGEMENT, {**both, "ai_gateway": ours}), 400, "INVALID_PARAMETER_VALUE", "table")
    assert update(table_name_prefix="old", enabled=False).status_code == 200
    stack.wait_ready("captured")
    seen = endpoints.get("captured").config
    assert seen is not None
    assert seen.auto_capture_config is not None
    assert seen.auto_capture_config.enabled is False
    refused(update(table_name_prefix="old", enabled=True), 400, "INVALID_PARAMETER_VALUE", "enabled")


def test_c83_killing_the_logger_fails_no_answer_and_loses_no_row(stack: Stack, logged: str) -> None:
    asked = []
    for turn in range(3):
        (writer,) = stack.ps("table-writer")
        for _ in range(10):
            answer = stack.ask(logged)
            assert answer.status_code == 200
            asked.append(answer.headers["databricks-request-id"])
        os.kill(writer["pid"], signal.SIGKILL)
        answer = stack.ask(logged)
        assert answer.status_code == 200, f"while it is dead, turn {turn}"
        asked.append(answer.headers["databricks-request-id"])

        def is_back(dead: int = writer["pid"]) -> bool:
            return [p["state"] for p in stack.ps("table-writer") if p["pid"] not in {None, dead}] == ["ready"]

        wait_for(is_back, "the table writer")
    found = [row["databricks_request_id"] for row in rows(stack, "main", "default", "logged_payload")]
    assert [found.count(request_id) for request_id in asked] == [1] * len(asked)
    assert len(set(found)) == len(found)


def test_p5_3_declared_columns_never_reach_the_disk(stack: Stack, create: Create) -> None:
    create("discreet", {**entity(), "environment_vars": {"PENSTOCK_REDACTED_COLUMNS": "s"}})
    log_into_a_table(stack, "discreet")
    secret = f"canary-{uuid.uuid4().hex}"
    records = stack.ask("discreet", {"dataframe_records": [{**ROW, "s": secret}]})
    split = {"columns": ["x", "n", "s"], "data": [[1.0, 2, secret]]}
    assert records.json()["predictions"][0]["s"] == secret
    assert stack.ask("discreet", {"dataframe_split": split}).status_code == 200
    assert stack.ask("discreet", {"dataframe_records": [{**ROW, "s": secret, "n": "oops"}]}).status_code == 400
    flushed(stack)
    found = rows(stack, "main", "default", "discreet_payload")
    (row,) = [r for r in found if r["databricks_request_id"] == records.headers["databricks-request-id"]]
    assert json.loads(row["request"])["dataframe_records"][0] == {**ROW, "s": "[REDACTED]"}
    assert not any(secret in f"{row['request']}{row['response']}" for row in found)
    kept = [path for folder in ("spool", "warehouse") for path in (stack.home / folder).rglob("*") if path.is_file()]
    assert not any(secret.encode() in path.read_bytes() for path in kept)
    bad = {**entity(), "environment_vars": {"PENSTOCK_REDACTED_COLUMNS": " , "}}
    body = {"name": "bad", "config": {"served_entities": [bad]}}
    refused(stack.call("POST", MANAGEMENT, body), 400, "INVALID_PARAMETER_VALUE", "PENSTOCK_REDACTED_COLUMNS")
