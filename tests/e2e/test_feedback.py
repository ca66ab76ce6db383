"""Feedback on a running stack: by request or client id, before the prediction is visible, and through crashes."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.catalog.home import HomeSource
from penstock.catalog.query import run
from penstock.client.table_writer import flush
from penstock.settings import Home
from penstock.wire.sockets import SocketFolder
from support.linear_model import register_adder
from support.processes import kill, wait_ready
from support.stack import MANAGEMENT, Stack, penstock, refused, registry_of, start_stack

TABLE = {"inference_table_config": {"enabled": True, "catalog_name": "main", "schema_name": "default"}}
FEEDBACK = "/api/2.0/penstock/feedback"
OFFSET = 1000.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with an endpoint that logs, and one that does not."""
    running = start_stack(Path(tmp_path_factory.mktemp("feedback")) / "home")
    try:
        with registry_of(running):
            register_adder("adder", OFFSET)
        for name, settings in (("adder", {"ai_gateway": TABLE}), ("silent", {})):
            body = {"name": name, "config": {"served_entities": [{"entity_name": "adder", "entity_version": "1"}]}}
            answer = running.call("POST", MANAGEMENT, {**body, **settings})
            assert answer.status_code == 200, answer.text
        running.wait_ready("adder")
        yield running
    finally:
        running.stop()


def tell(stack: Stack, *items: dict[str, Any], endpoint: str = "adder", **kwargs: Any) -> Any:
    """Feedback over HTTP."""
    return stack.call("POST", FEEDBACK, {"endpoint": endpoint, "feedback": items}, **kwargs)


def rows(stack: Stack, sql: str) -> list[dict[str, Any]]:
    """What a statement gives once everything is in the tables."""
    asyncio.run(flush(SocketFolder(stack.home / "run"), 60))
    found = run(HomeSource.read_only(Home(stack.home)), sql)
    return [row for batch in found.batches for row in batch.to_pylist()]


def test_p5_6_predictions_are_shown_beside_what_was_told_of_them(stack: Stack) -> None:
    body = {"dataframe_records": [{"x": 1.0}, {"x": 2.0}]}
    first = stack.ask("adder", body).headers["databricks-request-id"]
    told = tell(stack, {"databricks_request_id": first, "row": 1, "label": 1002.5, "value": 7, "comment": "late"})
    assert (told.status_code, told.json()["table"]) == (200, "main.default.adder_feedback")
    early = tell(stack, {"client_request_id": "order-1", "rating": True, "reviewer": "bob"})
    assert early.status_code == 200, "of a prediction that is still to come"
    stack.ask("adder", {"dataframe_records": [{"x": 3.0}], "client_request_id": "order-1"})
    sql = """
        SELECT prediction, feedback_label AS label, feedback_value AS value, feedback_rating AS rating,
            feedback_count AS n
        FROM main.default.adder_joined ORDER BY prediction
    """
    assert rows(stack, sql) == [
        {"prediction": 1001.0, "label": None, "value": None, "rating": None, "n": 0},
        {"prediction": 1002.0, "label": "1002.5", "value": 7.0, "rating": None, "n": 1},
        {"prediction": 1003.0, "label": None, "value": None, "rating": 1.0, "n": 1},
    ]
    sql = "SELECT author, reviewer, endpoint_name FROM adder_feedback WHERE client_request_id = 'order-1'"
    (row,) = rows(stack, sql)
    assert row == {"author": "admin", "reviewer": "bob", "endpoint_name": "adder"}


def test_p5_6_each_is_there_once_though_the_control_plane_and_the_table_writer_are_killed(stack: Stack) -> None:
    sent = [str(uuid.uuid4()) for _ in range(40)]
    for number, feedback_id in enumerate(sent):
        item = {"feedback_id": feedback_id, "client_request_id": "often", "label": number}
        assert tell(stack, item).status_code == 200
        assert tell(stack, item).status_code == 200, "and what is sent again is taken once"
        if number in {10, 30}:
            kill(stack, *wait_ready(stack, "control-plane", 1))
            wait_ready(stack, "control-plane", 1)
        if number == 20:
            kill(stack, *wait_ready(stack, "table-writer", 1))
            wait_ready(stack, "table-writer", 1)
    found = rows(stack, "SELECT feedback_id FROM adder_feedback WHERE client_request_id = 'often'")
    assert sorted(row["feedback_id"] for row in found) == sorted(sent)


def test_p5_6_the_command_tells_one_or_many(stack: Stack, tmp_path: Path) -> None:
    request_id = stack.ask("adder", {"dataframe_records": [{"x": 50.0}]}).headers["databricks-request-id"]
    done = penstock(
        *("feedback", "add", "adder", "--request-id", request_id, "--row", "0", "--label", "cat", "--rating", "0.5"),
        *("--observed-at", "2026-01-31T12:00:00Z", "--json"),
        home=stack.home,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["table"] == "main.default.adder_feedback"
    lines = "\n".join(json.dumps({"client_request_id": f"line-{n}", "label": {"n": n}}) for n in range(1500))
    done = penstock("feedback", "add", "adder", "--file", "-", home=stack.home, stdin=lines + "\n\n")
    assert (done.returncode, "1500 taken" in done.stderr) == (0, True)
    sql = (
        "SELECT feedback_label AS l, strftime(feedback_label_time, '%d') AS d FROM adder_joined WHERE prediction = 1050"
    )
    assert rows(stack, sql) == [{"l": "cat", "d": "31"}]
    (counted,) = rows(stack, "SELECT count(*) AS n FROM adder_feedback WHERE client_request_id LIKE 'line-%'")
    assert counted == {"n": 1500}
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"client_request_id": "a", "label": 1}\n{\n')
    done = penstock("feedback", "add", "adder", "--file", str(bad), home=stack.home)
    assert (done.returncode, "line 2" in done.stderr) == (2, True)
    done = penstock("feedback", "add", "adder", "--request-id", "nope", "--label", "1", home=stack.home)
    assert (done.returncode, "databricks_request_id: got 'nope'" in done.stderr) == (5, True)


def test_p5_6_who_may_query_may_tell_and_nobody_else(stack: Stack) -> None:
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "eve"}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    item = {"client_request_id": "x", "label": 1}
    refused(tell(stack, item, headers=headers), 403, "PERMISSION_DENIED", "CAN_QUERY")
    grants = {"access_control_list": [{"user_name": "eve", "permission_level": "CAN_QUERY"}]}
    path = f"/api/2.0/permissions/serving-endpoints/{stack.get('adder')['id']}"
    assert stack.call("PATCH", path, grants).status_code == 200
    assert tell(stack, item, headers=headers).status_code == 200
    refused(tell(stack, item, endpoint="nope"), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(tell(stack, item, endpoint="silent"), 400, "INVALID_PARAMETER_VALUE", "no inference table")
    refused(tell(stack), 400, "INVALID_PARAMETER_VALUE", "feedback")
