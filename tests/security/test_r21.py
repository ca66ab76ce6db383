"""R21: no route answers to somebody without a valid credential.

The routes come from the routers, and the paths that the gateway handles itself from its sources. A new route without
a rule, or one that is open to all and not named here, fails.
"""

import ast
import base64
import contextlib
import importlib
import pkgutil
import re
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

import penstock.api
import penstock.gateway
from penstock.api.app import make_app
from support.raw import RawClient
from support.report import Report
from support.stack import MANAGEMENT, QUERY, ROW, Stack

OPEN = {
    "/health": "says only whether this gateway is up",
    "/.well-known/databricks-config": "asked by the official SDK before it has a token; the same for everybody",
    "/login": "takes a token and gives a session; says nothing but whether the token is good",
    "/logout": "ends the session of the cookie that comes along, and does nothing without one",
}
"""Paths that ask for no credential, and why."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
DISGUISES = (
    *("/", "/nope", "//health", "/health/", "/health/..", "/health/../api/2.0/penstock/tokens", "/%68ealth"),
    *("/health%2f..%2fapi/2.0/penstock/tokens", "/.well-known/../api/2.0/penstock/tokens", "/api/2.0/penstock/tokens/"),
    *(
        "/API/2.0/penstock/tokens",
        "/serving-endpoints",
        "/serving-endpoints/../health",
        "/mlflow/../health",
        "/health;x",
    ),
    *(f"{QUERY}/models", f"{QUERY}/chat/completions", "/api/2.0/mlflow/experiments/search", "/static-files/index.js"),
    *("/api/2.0/mlflow-artifacts/artifacts", "/graphql", "/metrics", "/docs", "/redoc", "/openapi.json", "/version"),
)


def routes_of_the_routers() -> set[tuple[str, str]]:
    """Method and path of every route of the control plane, those that the OpenAPI document leaves out too."""
    found = {("GET", "/api/2.0/penstock/openapi.json")}
    for module in pkgutil.iter_modules(penstock.api.__path__):
        router = getattr(importlib.import_module(f"penstock.api.{module.name}"), "router", None)
        for route in router.routes if router is not None else ():
            found |= {(method, route.path) for method in route.methods}
    return found


def paths_of_the_gateway() -> set[str]:
    """Every path, or beginning of one, that the gateway's sources name."""
    found = set()
    for file in Path(penstock.gateway.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"/[\w.-]", node.value):
                found.add(node.value)
    return found


Credential = tuple[dict[str, str], str]
"""Headers, and what is added to the URL."""


def _bearer(token: str) -> Credential:
    return {"Authorization": f"Bearer {token}"}, ""


def _basic(password: str) -> Credential:
    return {"Authorization": "Basic " + base64.b64encode(f"token:{password}".encode()).decode()}, ""


def _wrong() -> str:
    return "pst_" + secrets.token_hex(24)


def _revoked(stack: Stack) -> str:
    """A token that has just worked, and was revoked a moment ago."""
    answer = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "r21@example.com"}).json()
    raw = RawClient(stack)
    headers, _ = _bearer(answer["token"])
    assert raw.send("GET", "/api/2.0/preview/scim/v2/Me", headers).status == 200
    assert stack.call("DELETE", f"/api/2.0/penstock/tokens/{answer['id']}").status_code == 200
    raw.close()
    return answer["token"]


CREDENTIALS: dict[str, Callable[[Stack], Credential]] = {
    "none": lambda _: ({}, ""),
    "none, and the name of a principal in our own header": lambda _: ({"X-Penstock-Principal": "admin"}, ""),
    "wrong": lambda _: _bearer(_wrong()),
    "wrong, as a browser sends it": lambda _: _basic(_wrong()),
    "empty": lambda _: ({"Authorization": "Bearer "}, ""),
    "the right token's digest": lambda stack: _bearer(_digest(stack.token)),
    "the right token under another scheme": lambda stack: ({"Authorization": f"Token {stack.token}"}, ""),
    "the right token in another header": lambda stack: ({"X-Api-Key": stack.token, "Cookie": stack.token}, ""),
    "the right token in the URL": lambda stack: ({}, f"?token={stack.token}&access_token={stack.token}"),
    "revoked a moment ago": lambda stack: _bearer(_revoked(stack)),
    "revoked a moment ago, as a browser sends it": lambda stack: _basic(_revoked(stack)),
    "a session that has expired": lambda stack: _cookie(_expired_session(stack)),
    "a session that was ended": lambda stack: _cookie(_ended_session(stack)),
    "a session whose token was revoked": lambda stack: _cookie(_orphaned_session(stack)),
    "a session's id as a token": lambda stack: _bearer(log_in(stack, stack.token)),
    "the right token as a cookie": lambda stack: _cookie(stack.token),
}


SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
COOKIE = "penstock_session"


def log_in(stack: Stack, token: str) -> str:
    """The id of a new session."""
    answer = requests.post(f"{stack.url}/login", data={"token": token}, allow_redirects=False, timeout=30)
    assert answer.status_code == 303, answer.text
    return str(answer.cookies[COOKIE])


def _cookie(session: str) -> Credential:
    return {"Cookie": f"{COOKIE}={session}", **SAME_ORIGIN}, ""


def _is_good(stack: Stack, session: str) -> bool:
    headers, _ = _cookie(session)
    return requests.get(f"{stack.url}{MANAGEMENT}", headers=headers, timeout=30).status_code == 200


def _expired_session(stack: Stack) -> str:
    """A session whose time is over: it is set back at rest, and told to the gateways with the next table."""
    session = log_in(stack, stack.token)
    assert _is_good(stack, session)
    with contextlib.closing(sqlite3.connect(stack.home / "penstock.db", timeout=10)) as database, database:
        changed = database.execute("UPDATE sessions SET expires_at_ms = 1 WHERE digest = ?", (_digest(session),))
        assert changed.rowcount == 1
    _revoked(stack)  # a new table is published
    return session


def _ended_session(stack: Stack) -> str:
    session = log_in(stack, stack.token)
    headers, _ = _cookie(session)
    assert requests.post(f"{stack.url}/logout", headers=headers, allow_redirects=False, timeout=30).ok
    return session


def _orphaned_session(stack: Stack) -> str:
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "r21@example.com"}).json()
    session = log_in(stack, token["token"])
    assert stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}").status_code == 200
    return session


def _digest(token: str) -> str:
    from penstock.domain.access import digest_of

    return digest_of(token)


@pytest.fixture(scope="module")
def targets(stack: Stack, live: str) -> list[tuple[str, str]]:
    """Every method of every path, filled with things that exist."""
    filling = {
        "name": live,
        "endpoint_id": stack.get(live)["id"],
        "served_model": "m-1",
        "token_id": stack.call("GET", "/api/2.0/penstock/tokens").json()["tokens"][0]["id"],
    }
    found = {
        (method, re.sub(r"\{(\w+)\}", lambda match: filling.get(match[1], "x"), path))
        for method, path in routes_of_the_routers()
        if path not in OPEN
    }
    known = {*paths_of_the_gateway() - OPEN.keys(), *DISGUISES}
    known |= {f"{QUERY}/{live}/invocations", f"{QUERY}/{live}/served-models/m-1/invocations"}
    return sorted(found | {(method, path) for path in known for method in METHODS})


def test_the_routers_tell_what_the_application_has() -> None:
    routes = routes_of_the_routers()
    document = make_app(lambda _: None).openapi()["paths"]  # type: ignore[arg-type, return-value]
    assert {(method.upper(), path) for path, methods in document.items() for method in methods} < routes
    assert ("POST", f"{MANAGEMENT}/") in routes
    assert {"/health", "/mlflow", "/api/2.0/mlflow/"} <= paths_of_the_gateway()


@pytest.mark.parametrize("kind", CREDENTIALS)
def test_r21_no_route_answers_without_a_valid_credential(
    stack: Stack, live: str, targets: list[tuple[str, str]], raw: RawClient, report: Report, kind: str
) -> None:
    before = stack.call("GET", MANAGEMENT).json(), stack.call("GET", "/api/2.0/penstock/tokens").json()
    headers, query = CREDENTIALS[kind](stack)
    before[1]["tokens"].sort(key=lambda token: token["id"])
    wrong = []
    for method, path in targets:
        answer = raw.send(method, path + query, headers, {"dataframe_records": [ROW]} if method == "POST" else None)
        is_told = method == "HEAD" or answer.json()["error_code"] in {"UNAUTHENTICATED", "PERMISSION_DENIED"}
        if answer.status not in {401, 403} or not is_told or stack.token.encode() in answer.body:
            wrong.append((method, path, answer.status, answer.body[:200]))
    assert not wrong
    after = stack.call("GET", MANAGEMENT).json(), stack.call("GET", "/api/2.0/penstock/tokens").json()
    after[1]["tokens"].sort(key=lambda token: token["id"])
    assert after == before
    report.covered.update(routes=len(targets), open_to_all=OPEN, credentials=list(CREDENTIALS))


def test_r21_the_same_requests_are_known_with_a_token(
    stack: Stack, targets: list[tuple[str, str]], raw: RawClient
) -> None:
    """What is refused above is refused for want of a credential: with one, none of it is."""
    for method, path in targets:
        if method == "GET" or path.endswith("/invocations"):
            answer = raw.send(method, path, stack.headers, {"dataframe_records": [ROW]} if method == "POST" else None)
            assert answer.status not in {401, 403}, (method, path)


def test_r21_open_paths_give_nothing_away(stack: Stack, raw: RawClient) -> None:
    for path in OPEN:
        for method in METHODS:
            answer = raw.send(method, path)
            assert answer.status in {200, 303, 400, 401, 403, 404, 405, 422}, (method, path, answer.status)
            assert stack.token.encode() not in answer.body
            assert b"set-cookie" not in b" ".join(name.encode().lower() for name in answer.headers)
            assert len(answer.body) < 4096


def test_r21_nobody_becomes_somebody_else_by_a_header(stack: Stack, raw: RawClient) -> None:
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "r21@example.com"}).json()
    headers, _ = _bearer(token["token"])
    for forged in ("X-Penstock-Principal", "x-penstock-principal", "X-Penstock-principal"):
        me = raw.send("GET", "/api/2.0/preview/scim/v2/Me", {**headers, forged: "admin"})
        assert me.json()["userName"] == "r21@example.com"
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")
