"""A browser's way in: log-in, session, log-out, and what a logged page may not do."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import mlflow
import pytest
import requests
from fastapi.routing import APIRoute

from penstock.api.app import FOR_ANYBODY
from penstock.wire.sockets import CONTROL_PLANE, SocketFolder
from support.stack import MANAGEMENT, Stack, penstock, refused

COOKIE = "penstock_session"
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
NAVIGATION = {"Accept": "text/html", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
TOKENS = "/api/2.0/penstock/tokens"
SEARCH = "/mlflow/ajax-api/2.0/mlflow/experiments/search"


class Browser(requests.Session):
    """Keeps cookies, and sends no token by itself."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url

    def open(self, path: str, method: str = "GET", **kwargs: object) -> requests.Response:
        return self.request(method, self.url + path, timeout=30, allow_redirects=False, **kwargs)  # type: ignore[arg-type]

    def log_in(self, token: str) -> requests.Response:
        return self.open("/login", "POST", data={"token": token})

    @property
    def is_logged_in(self) -> bool:
        status = self.open(MANAGEMENT).status_code
        assert status in {200, 401}
        return status == 200


@pytest.fixture
def browser(stack: Stack) -> Iterator[Browser]:
    with Browser(stack.url) as session:
        yield session


def test_a_token_in_the_form_logs_in(stack: Stack, browser: Browser) -> None:
    sent_away = browser.open("/mlflow/", headers=NAVIGATION)
    assert (sent_away.status_code, sent_away.headers["location"]) == (303, "/login")
    page = browser.open("/login")
    assert page.status_code == 200
    assert '<form method="post" action="/login">' in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    done = browser.log_in(stack.token)
    assert (done.status_code, done.headers["location"]) == (303, "/mlflow/")
    attributes = {part.strip() for part in done.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"}
    assert browser.is_logged_in
    assert "<html" in browser.open("/mlflow/", headers=NAVIGATION).text
    root = browser.open("/", headers=NAVIGATION)
    assert (root.status_code, root.headers["location"]) == (303, "/mlflow/")
    assert "logged in as <strong>admin</strong>" in browser.open("/login").text


@pytest.mark.parametrize("token", ["pst_wrong", "", "<b>&", "ü"])
def test_a_wrong_token_gets_the_page_again(browser: Browser, token: str) -> None:
    answer = browser.log_in(token)
    assert answer.status_code == 401
    assert answer.headers["content-type"].startswith("text/html")
    assert "unknown, or it has been revoked" in answer.text
    assert "<form" in answer.text
    assert "<b>" not in answer.text
    assert "set-cookie" not in answer.headers


def test_a_form_that_is_no_form_logs_nobody_in(stack: Stack, browser: Browser) -> None:
    assert browser.open("/login", "POST", data=b"\xff\xfe=&&&;").status_code == 401
    refused(browser.open("/login", "POST", data=b"token=" + b"x" * 20_000), 413, "BAD_REQUEST")
    foreign = browser.open("/login", "POST", data={"token": stack.token}, headers={"Sec-Fetch-Site": "cross-site"})
    refused(foreign, 403, "PERMISSION_DENIED")
    assert not browser.is_logged_in


def test_a_link_logs_in_once(stack: Stack, browser: Browser) -> None:
    code = stack.call("POST", "/api/2.0/penstock/login-codes").json()["code"]
    first = browser.open(f"/login?code={code}", headers=NAVIGATION)
    assert (first.status_code, first.headers["location"]) == (303, "/mlflow/")
    assert browser.is_logged_in
    with Browser(stack.url) as other:
        second = other.open(f"/login?code={code}")
        assert second.status_code == 401
        assert "used already" in second.text
        assert other.open("/login?code=").status_code == 401
        assert not other.is_logged_in


def test_the_command_prints_a_link(stack: Stack, browser: Browser) -> None:
    plain = penstock("login", home=stack.home)
    link = plain.stdout.strip()
    assert link.startswith(f"{stack.url}/login?code=")
    assert browser.open(link.removeprefix(stack.url)).status_code == 303
    assert browser.is_logged_in
    other = json.loads(penstock("login", "--json", home=stack.home).stdout)
    assert set(other) == {"url"}
    assert other["url"] != link
    session_id = browser.cookies[COOKIE]
    for file in stack.home.rglob("*.log"):
        text = file.read_text(errors="replace")
        assert session_id not in text, file
        assert link.partition("code=")[2] not in text, file


def test_with_a_cookie_reading_is_free_and_writing_is_for_our_own_pages(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        refused(browser.open(SEARCH, "POST", json={"max_results": 1}, headers=headers), 403, "PERMISSION_DENIED")
    own = {**SAME_ORIGIN, "Origin": stack.url}
    assert browser.open(SEARCH, "POST", json={"max_results": 1}, headers=own).status_code == 200
    assert browser.open(MANAGEMENT).status_code == 200
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    refused(browser.open(MANAGEMENT, headers=foreign), 403, "PERMISSION_DENIED")
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert browser.open("/mlflow/", headers=link).status_code == 200


def test_what_a_session_creates_is_its_principals(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    try:
        created = browser.open(MANAGEMENT, "POST", json={"name": "by-browser"}, headers=SAME_ORIGIN)
        assert created.json()["creator"] == "admin"
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/by-browser")


def test_a_log_out_ends_the_session_everywhere(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    session_id = browser.cookies[COOKIE]
    refused(browser.open("/logout", "POST"), 403, "PERMISSION_DENIED")
    assert browser.is_logged_in
    done = browser.open("/logout", "POST", headers=SAME_ORIGIN)
    assert (done.status_code, done.headers["location"]) == (303, "/login")
    assert COOKIE not in browser.cookies
    with Browser(stack.url) as other:
        other.cookies.set(COOKIE, session_id)
        assert not other.is_logged_in


def test_a_session_dies_with_its_token(stack: Stack, browser: Browser) -> None:
    token = stack.call("POST", TOKENS, {"user": "browsing@example.com"}).json()
    headers = {"Authorization": f"Bearer {token['token']}"}
    code = browser.open("/api/2.0/penstock/login-codes", "POST", headers=headers).json()["code"]
    browser.log_in(token["token"])
    assert browser.is_logged_in
    assert stack.call("DELETE", f"{TOKENS}/{token['id']}").status_code == 200
    assert not browser.is_logged_in
    assert browser.open(f"/login?code={code}").status_code == 401


def test_tokens_and_sessions_do_not_pass_for_each_other(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    session_id = browser.cookies[COOKIE]
    bearer = requests.get(stack.url + MANAGEMENT, headers={"Authorization": f"Bearer {session_id}"}, timeout=30)
    refused(bearer, 401, "UNAUTHENTICATED")
    with Browser(stack.url) as other:
        other.cookies.set(COOKIE, stack.token)
        assert not other.is_logged_in
    for file in (stack.home / "run" / "routing-table.json", stack.home / "penstock.db"):
        assert session_id.encode() not in file.read_bytes()


def test_a_token_in_the_header_wins_over_the_cookie(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    refused(browser.open(MANAGEMENT, headers={"Authorization": "Bearer pst_wrong"}), 401, "UNAUTHENTICATED")
    written = browser.open(SEARCH, "POST", json={"max_results": 1}, headers=stack.headers)
    assert written.status_code == 200


def test_a_logged_page_is_kept_from_acting_for_whoever_opens_it(stack: Stack, browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text("<script>fetch('/api/2.0/penstock/tokens')</script>")
    mlflow.set_experiment("tests")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(page))
    run_id, experiment = run.info.run_id, run.info.experiment_id
    stored = f"{experiment}/{run_id}/artifacts/report.html"
    browser.log_in(stack.token)
    for path in (
        f"/mlflow/get-artifact?path=report.html&run_uuid={run_id}",
        f"/mlflow/ajax-api/2.0/mlflow-artifacts/artifacts/{stored}",
        f"/ajax-api/2.0/mlflow-artifacts/artifacts/{stored}",
        f"/api/2.0/mlflow-artifacts/artifacts/{stored}",
    ):
        answer = browser.open(path, headers=NAVIGATION)
        assert answer.status_code == 200, path
        assert answer.content == page.read_bytes()
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_ui_itself_runs(stack: Stack, browser: Browser) -> None:
    browser.log_in(stack.token)
    page = browser.open("/mlflow/", headers=NAVIGATION)
    script = page.text.split('src="', 1)[1].split('"', 1)[0]
    for answer in (page, browser.open(f"/mlflow/{script}", headers=SAME_ORIGIN)):
        assert answer.status_code == 200
        assert "content-security-policy" not in answer.headers


def test_no_page_of_another_origin_may_read_an_answer(stack: Stack) -> None:
    for path in (
        MANAGEMENT,
        "/api/2.0/mlflow/experiments/search?max_results=1",
        "/ajax-api/2.0/mlflow/experiments/get",
    ):
        answer = stack.call("GET", path, headers={"Origin": "http://localhost:3000"})
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")], path
    preflight = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    refused(requests.options(stack.url + MANAGEMENT, headers=preflight, timeout=30), 401, "UNAUTHENTICATED")


def test_only_the_pages_of_the_log_in_ask_for_no_principal(stack: Stack) -> None:
    routes = [route for router in FOR_ANYBODY for route in router.routes if isinstance(route, APIRoute)]
    assert {(method, route.path) for route in routes for method in route.methods} == {
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/logout"),
    }
    document = stack.call("GET", "/api/2.0/penstock/openapi.json").json()
    asked = [(method, path) for path, methods in document["paths"].items() for method in methods]
    assert len(asked) > 20

    async def statuses() -> set[int]:
        connector = aiohttp.UnixConnector(SocketFolder(stack.home / "run").address(CONTROL_PLANE))
        async with aiohttp.ClientSession("http://control-plane", connector=connector) as session:
            seen = set()
            for method, path in asked:
                async with session.request(method, path) as answer:
                    seen.add(answer.status)
            return seen

    assert asyncio.run(statuses()) == {401}
