"""Queries, against a running stack. Test names bear the numbers of the contract's checklist."""

import base64
import json
import math
import random
import socket
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from support.stack import MANAGEMENT, QUERY, ROW, Stack, entity, refused, split, wait_for

Create = Callable[..., dict[str, Any]]


def rows(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def test_c47_records_and_headers(stack: Stack, live: str) -> None:
    answer = stack.ask(live, {"dataframe_records": [ROW, {**ROW, "x": 2.5}]})
    assert [row["x"] for row in rows(answer)] == [1.5, 2.5]
    assert answer.headers["served-model-name"] == "m-1"
    request_id = answer.headers["x-databricks-request-id"]
    assert str(uuid.UUID(request_id)) == request_id == answer.headers["databricks-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert stack.ask(live).headers["x-databricks-request-id"] != request_id


def test_c48_split_is_the_same(stack: Stack, live: str) -> None:
    data = {"columns": list(ROW), "data": [list(ROW.values())], "index": [7]}
    assert rows(stack.ask(live, {"dataframe_split": data})) == rows(stack.ask(live))


def test_c49_split_wrapped_in_a_list(stack: Stack, live: str) -> None:
    body = {"dataframe_split": [{"columns": list(ROW), "data": [list(ROW.values())]}]}
    refused(stack.ask(live, body), 400, "BAD_REQUEST", "Dataframe split format must")


def test_c50_inputs_as_object_and_list(stack: Stack, live: str) -> None:
    columns = {name: [value, value] for name, value in ROW.items()}
    assert len(rows(stack.ask(live, {"inputs": columns}))) == 2
    assert rows(stack.ask(live, {"inputs": [ROW]})) == rows(stack.ask(live))


def test_c51_instances(stack: Stack, live: str) -> None:
    assert rows(stack.ask(live, {"instances": [ROW, ROW]})) == rows(stack.ask(live)) * 2


def test_c52_params(stack: Stack, live: str) -> None:
    body = {"dataframe_records": [ROW]}
    assert rows(stack.ask(live, {**body, "params": {"temp": 0.9}}))[0]["temp"] == 0.9
    assert rows(stack.ask(live, body))[0]["temp"] == 0.5
    assert rows(stack.ask(live, {**body, "params": {"unknown": 1}}))[0]["temp"] == 0.5
    refused(stack.ask(live, {**body, "params": {"temp": "hot"}}), 400, "INVALID_PARAMETER_VALUE", "temp")


def test_c53_missing_column(stack: Stack, live: str) -> None:
    answer = stack.ask(live, {"dataframe_records": [{"x": 1.0, "s": "a"}]})
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "Model is missing inputs")
    assert "'n'" in answer.json()["message"]


def test_c54_text_in_a_number_column(stack: Stack, live: str) -> None:
    refused(
        stack.ask(live, {"dataframe_records": [{**ROW, "x": "many"}]}),
        400,
        "BAD_REQUEST",
        "not compatible with model signature",
    )


def test_c55_extra_column_is_ignored(stack: Stack, live: str) -> None:
    assert "more" not in rows(stack.ask(live, {"dataframe_records": [{**ROW, "more": 1}]}))[0]["columns"]


def test_c56_null(stack: Stack, live: str) -> None:
    assert rows(stack.ask(live, {"dataframe_records": [{**ROW, "x": None}]}))[0]["x_is_nan"] is True
    assert stack.ask(live, {"dataframe_records": [{**ROW, "n": None}]}).status_code == 400
    text = '{"dataframe_records": [{"x": NaN, "n": 1, "s": "a"}]}'
    answer = requests.post(
        f"{stack.url}{QUERY}/{live}/invocations",
        text,
        headers={**stack.headers, "content-type": "application/json"},
        timeout=30,
    )
    assert rows(answer)[0]["x_is_nan"] is True


def test_c57_base64_and_datetime(stack: Stack, live: str) -> None:
    data = bytes(range(200))
    row = {**ROW, "t": "2026-01-02T03:04:05", "b": base64.b64encode(data).decode()}
    seen = rows(stack.ask(live, {"dataframe_records": [row]}))[0]
    assert seen["b"] == data.hex()
    assert seen["t"] == "2026-01-02T03:04:05"


@pytest.mark.parametrize(
    ("body", "fragment"),
    [
        (b'{"dataframe_records": [', "valid JSON formatted string"),
        (b"", "valid JSON formatted string"),
        (b"[1, 2]", "list"),
        (b"3", "type"),
        (b'{"dataframe_records": [], "inputs": []}', "exactly one of the input fields"),
        (b'{"nothing": 1}', "exactly one of the input fields"),
        (b"\xff\xfe{}", ""),
        (b'{"dataframe_records": {"x": 1}}', "Dataframe records format must be a list"),
        (b"null", ""),
        (b'"text"', ""),
        (b"[" * 20_000, ""),
        (b'{"dataframe_records": [{"x": 1e999, "n": 1' + b"0" * 5000 + b', "s": ""}]}', ""),
        (b'{"inputs": "\\ud800"}', ""),
        (b'{"dataframe_split": {"columns": ["x"], "data": [[1, 2]]}}', ""),
        (b'{"dataframe_records": ["text", 3, null]}', ""),
        (b'{"instances": null}', ""),
        (b'{"dataframe_records": [{"x": 1, "n": 1, "s": "a"}], "params": 7}', ""),
    ],
)
def test_c58_bodies_that_are_no_request(stack: Stack, live: str, body: bytes, fragment: str) -> None:
    answer = requests.post(
        f"{stack.url}{QUERY}/{live}/invocations",
        body,
        headers={**stack.headers, "content-type": "application/json"},
        timeout=30,
    )
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error_code"] in {"BAD_REQUEST", "INVALID_PARAMETER_VALUE"}
    assert fragment in answer.json()["message"]
    assert stack.ask(live).status_code == 200


def test_c59_content_types(stack: Stack, live: str) -> None:
    url = f"{stack.url}{QUERY}/{live}/invocations"

    def send(body: bytes, content_type: str | None) -> requests.Response:
        headers = {**stack.headers, **({"content-type": content_type} if content_type else {})}
        return requests.post(url, body, headers=headers, timeout=30)

    assert rows(send(b"x,n,s\n1.5,2,hello\n", "text/csv"))[0]["x"] == 1.5
    assert rows(send(json.dumps({"dataframe_records": [ROW]}).encode(), None))[0]["x"] == 1.5
    assert rows(send(json.dumps({"dataframe_records": [ROW]}).encode(), "application/json; charset=utf-8"))
    refused(send(b"hello", "text/plain"), 415, "BAD_REQUEST", "text/plain")


def test_c60_a_model_that_raises_is_the_callers_affair(stack: Stack, live: str) -> None:
    answer = stack.ask(live, {"dataframe_records": [{**ROW, "s": "raise"}]})
    refused(answer, 400, "BAD_REQUEST", "while evaluating the model")
    assert "the model does not like this" in answer.json()["stack_trace"]
    refused(
        stack.ask(live, {"dataframe_records": [{**ROW, "s": "mlflow-raise"}]}),
        400,
        "BAD_REQUEST",
        "the model refuses this",
    )


def test_c61_c62_split_and_direct_address(stack: Stack, create: Create) -> None:
    create("c61", entity("1"), entity("2"), entity("1", "idle"), traffic_config=split(m_1=90, m_2=10, idle=0))
    session = requests.Session()
    session.headers.update(stack.headers)
    url = f"{stack.url}{QUERY}/c61/invocations"
    served: Counter[str] = Counter()

    def send(_index: int) -> None:
        answer = session.post(url, json={"dataframe_records": [ROW]}, timeout=60)
        name = answer.headers["served-model-name"]
        assert rows(answer)[0]["version"] == name[-1]
        served[name] += 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(2000)))
    sigma = math.sqrt(2000 * 0.9 * 0.1)
    assert abs(served["m-1"] - 1800) <= 3 * sigma, served
    assert served["idle"] == 0
    assert sum(served.values()) == 2000

    direct = stack.ask("c61", entity="idle")
    assert direct.headers["served-model-name"] == "idle"
    assert rows(direct)[0]["version"] == "1"
    assert rows(stack.ask("c61", entity="m-2"))[0]["version"] == "2"
    refused(stack.ask("c61", entity="m-3"), 404, "RESOURCE_DOES_NOT_EXIST", "m-3")


@pytest.mark.parametrize("queue_size", [None, 3])
def test_c63_a_saturated_entity_queues_or_refuses_and_never_fails(
    stack: Stack, create: Create, queue_size: int | None
) -> None:
    variables = {} if queue_size is None else {"PENSTOCK_QUEUE_SIZE": str(queue_size)}
    create("saturated", entity(environment_vars=variables))
    slow = {"dataframe_records": [{**ROW, "s": "sleep:0.2"}]}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: stack.ask("saturated", slow), range(16)))
    statuses = Counter(answer.status_code for answer in answers)
    if queue_size is None:
        assert statuses == {200: 16}, "all wait and are answered"
        return
    assert statuses.keys() == {200, 429}
    assert statuses[200] > queue_size, "those at work, those inside the replica and those that wait"
    for answer in answers:
        if answer.status_code == 429:
            refused(answer, 429, "RESOURCE_EXHAUSTED", "Too many concurrent requests")
            assert int(answer.headers["retry-after"]) >= 1


def test_c65_body_over_the_limit(stack: Stack, live: str) -> None:
    headers = {**stack.headers, "content-type": "application/json"}
    url = f"{stack.url}{QUERY}/{live}/invocations"
    limit = 16 << 20

    def chunks(size: int) -> Any:
        for _ in range(size >> 16):
            yield b" " * (1 << 16)

    for body in (b" " * (limit + 1), chunks(limit + (1 << 20))):
        refused(requests.post(url, body, headers=headers, timeout=60), 413, "BAD_REQUEST", str(limit))
    padded = json.dumps({"dataframe_records": [ROW]}).encode()
    padded += b" " * (limit - len(padded))
    assert rows(requests.post(url, padded, headers=headers, timeout=60))[0]["x"] == 1.5


def test_c66_time_limit(stack: Stack, create: Create) -> None:
    create("c66", entity("1", environment_vars={"PENSTOCK_REQUEST_TIMEOUT_S": "2"}))
    refused(
        stack.ask("c66", {"dataframe_records": [{**ROW, "s": "sleep:600"}]}),
        504,
        "DEADLINE_EXCEEDED",
        "time limit of 2 s",
    )
    wait_for(lambda: stack.ask("c66").status_code == 200, "the entity to answer again")


def test_c74_endpoints_that_cannot_answer(stack: Stack, create: Create) -> None:
    create("c74", ready=False)
    refused(stack.ask("c74"), 400, "BAD_REQUEST", "not ready")
    stack.call("POST", MANAGEMENT, {"name": "c74-bare"})
    refused(stack.ask("c74-bare"), 400, "BAD_REQUEST", "no config")
    stack.call("DELETE", f"{MANAGEMENT}/c74-bare")
    refused(stack.ask("c74-none"), 404, "RESOURCE_DOES_NOT_EXIST", "Endpoint with name 'c74-none' does not exist.")


def test_a_request_that_kills_its_replica_hurts_nobody_else(stack: Stack, create: Create) -> None:
    create("killer")
    refused(stack.ask("killer", {"dataframe_records": [{**ROW, "s": "die"}]}), 500, "INTERNAL_ERROR", "ended")
    assert stack.ask("killer").status_code == 200


def test_answers_come_to_those_who_asked(stack: Stack, live: str) -> None:
    """Tagged requests from many connections at once: no answer is swapped."""

    def send(tag: int) -> bool:
        answer = stack.ask(live, {"dataframe_records": [{**ROW, "s": f"tag {tag}", "n": tag}]})
        return [(row["s"], row["n"]) for row in rows(answer)] == [(f"tag {tag}", tag)]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(send, range(400)))


def test_pipelined_requests_are_answered_in_order(stack: Stack, live: str) -> None:
    sent = b""
    tags = [random.randint(0, 9999) for _ in range(20)]
    for tag in tags:
        body = json.dumps({"dataframe_records": [{**ROW, "n": tag}]}).encode()
        sent += (
            f"POST {QUERY}/{live}/invocations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.token}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
    host, port = stack.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        received = b""
        while received.count(b'"predictions"') < len(tags):
            data = connection.recv(65536)
            assert data
            received += data
        connection.settimeout(0.2)
    found = [int(part.split(b",")[0]) for part in received.split(b'"n": ')[1:]]
    assert found == tags


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods_on_a_query_route(stack: Stack, live: str, method: str) -> None:
    answer = stack.call(method, f"{QUERY}/{live}/invocations")
    refused(answer, 405, "ENDPOINT_NOT_FOUND", method)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path",
    [f"{QUERY}/live/nothing", f"{QUERY}/", f"{QUERY}/live/served-models/m-1", "/api/2.0/nothing", "/", "/internal"],
)
def test_unknown_routes(stack: Stack, live: str, path: str) -> None:
    refused(stack.call("POST", path, {}), 404, "ENDPOINT_NOT_FOUND", path)


def test_replicas_inherit_no_secret(stack: Stack, create: Create) -> None:
    create("secretless", entity("1", environment_vars={"MINE": "yes", "OMP_NUM_THREADS": "2"}))
    answer = stack.ask("secretless", {"dataframe_records": [{**ROW, "s": "env"}]})
    seen = rows(answer)[0]["env"]
    assert seen["MINE"] == "yes"
    assert seen["OMP_NUM_THREADS"] == "2"
    assert seen["OPENBLAS_NUM_THREADS"] == "1"
    assert stack.token not in answer.text
    assert not [name for name in seen if "TOKEN" in name or "SECRET" in name or "PASSWORD" in name]
