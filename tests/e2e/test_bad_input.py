"""Whatever arrives: no 5xx, no hang, JSON with a known code, and nothing half-created."""

import json
import random
import socket
from typing import Any

import pytest
import requests

from penstock.wire.errors import KNOWN_CODES
from support.stack import MANAGEMENT, MODEL, QUERY, ROW, Stack

SCRAPS: list[Any] = [
    *(None, True, -1, 0, 10**30, 1.5, "", "x", "@", "@champion", "../..", "a\0b", "\ud800", "ü" * 300),
    *([], [[]], {}, {"a": 1}, [None], "{{secrets/a/b}}", "1", 1, [1, "1"]),
]
VALID: dict[str, Any] = {
    "name": "fuzz",
    "tags": [{"key": "k", "value": "v"}],
    "description": "d",
    "email_notifications": {"on_update_success": ["a@example.com"]},
    "config": {
        "served_entities": [
            {
                "name": "a",
                "entity_name": MODEL,
                "entity_version": "1",
                "workload_size": "Small",
                "workload_type": "CPU",
                "scale_to_zero_enabled": False,
                "environment_vars": {"A": "b"},
            },
            {"name": "b", "entity_name": MODEL, "entity_version": "2", "min_provisioned_concurrency": 4},
        ],
        "traffic_config": {
            "routes": [
                {"served_entity_name": "a", "traffic_percentage": 50},
                {"served_model_name": "b", "traffic_percentage": 50},
            ]
        },
    },
}


def mutate(document: Any, dice: random.Random) -> Any:
    """A copy of a document with one place changed, removed, doubled or nested."""
    if isinstance(document, dict) and document and dice.random() < 0.8:
        key = dice.choice(sorted(document))
        if dice.random() < 0.15:
            return {k: v for k, v in document.items() if k != key}
        return {**document, key: mutate(document[key], dice)}
    if isinstance(document, list) and document and dice.random() < 0.8:
        index = dice.randrange(len(document))
        if dice.random() < 0.15:
            return [*document, document[index]]
        return [mutate(item, dice) if i == index else item for i, item in enumerate(document)]
    return dice.choice(SCRAPS)


def is_proper(answer: requests.Response) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json"
        document = answer.json()
        assert document["error_code"] in KNOWN_CODES
        assert document["message"]


def test_mutated_management_bodies(stack: Stack) -> None:
    dice = random.Random(20261122)
    refused = 0
    for _ in range(400):
        body = json.dumps(mutate(VALID, dice)).encode("utf-8", "surrogatepass")
        answer = requests.post(stack.url + MANAGEMENT, body, headers=stack.headers, timeout=10)
        is_proper(answer)
        if answer.status_code == 200:
            stack.call("DELETE", f"{MANAGEMENT}/{answer.json()['name']}")
        else:
            refused += 1
    assert refused > 200
    names = [e["name"] for e in stack.call("GET", MANAGEMENT).json()["endpoints"]]
    assert "fuzz" not in names


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"name": NaN}',
        b'{"name":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b'"x"',
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("PUT", "/live/config")])
def test_management_bodies_that_are_no_json_object(
    stack: Stack, live: str, method: str, path: str, body: bytes
) -> None:
    answer = requests.request(method, f"{stack.url}{MANAGEMENT}{path}", data=body, headers=stack.headers, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_a_huge_management_body_is_refused(stack: Stack) -> None:
    answer = requests.post(stack.url + MANAGEMENT, b" " * (8 << 20), headers=stack.headers, timeout=30)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "BAD_REQUEST")


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "%2e%2e%2f%2e%2e", "a%00b", "models:%2fm%2f1", "%ff", "x" * 300, "%E2%82%AC", "a b"]
)
def test_odd_names_in_paths(stack: Stack, name: str) -> None:
    for method, path in (
        ("GET", f"{MANAGEMENT}/{name}"),
        ("DELETE", f"{MANAGEMENT}/{name}"),
        ("GET", f"{MANAGEMENT}/live/served-models/{name}/build-logs"),
        ("POST", f"{QUERY}/{name}/invocations"),
        ("POST", f"{QUERY}/live/served-models/{name}/invocations"),
    ):
        request = requests.Request(
            method, stack.url, headers=stack.headers, json={"dataframe_records": [ROW]}
        ).prepare()
        request.url = stack.url + path.replace(" ", "%20")
        answer = requests.Session().send(request, timeout=10)
        is_proper(answer)
        assert answer.status_code >= 400


RAW = {
    "no http at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a bad method": b"BREW /health HTTP/1.1\r\nhost: x\r\n\r\n",
    "a huge header": b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "endless headers": b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * 20_000,
    "two lengths": b"POST /health HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "length and chunks": b"POST /health HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST /health HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a negative length": b"POST /health HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "an absolute target": b"GET http://evil/health HTTP/1.1\r\nhost: x\r\n\r\n",
    "an upgrade": b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("case", RAW)
def test_what_is_no_proper_http_is_refused_and_hurts_nobody(stack: Stack, live: str, case: str) -> None:
    host, port = stack.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(RAW[case])
        received = b""
        while b"}" not in received:
            data = connection.recv(65536)
            if not data:
                break
            received += data
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    assert json.loads(received.partition(b"\r\n\r\n")[2])["error_code"] in KNOWN_CODES
    assert stack.ask(live).status_code == 200


def test_a_request_that_crashes_mlflow_spoils_no_later_one(stack: Stack) -> None:
    """MLflow closes its connection after a crash of its own; who comes next gets another one."""
    for _ in range(10):
        broken = requests.put(
            f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/%2e", b"x", headers=stack.headers, timeout=10
        )
        assert broken.status_code >= 400
        assert stack.call("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1}).status_code == 200
