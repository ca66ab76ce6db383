"""Cross-origin requests: who may read an answer from a page of their own."""

import pytest

from penstock.domain.errors import BadRequest
from penstock.gateway.cors import CrossOrigin
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.sinks import Discard, WholeBody
from unit.clock import run_at_once
from unit.gateway.fakes import Answer, FakeClient, echo

APP = "https://app.example.com"
ALLOW = "access-control-allow-origin"


def routes(exchange: Exchange) -> Sink:
    """Refuses /bad, streams /stream, echoes everything else."""
    if exchange.target == b"/bad":
        return Discard(exchange, BadRequest("no"))
    if exchange.target == b"/stream":
        return WholeBody(exchange, 1000, lambda _: stream(exchange))
    return WholeBody(exchange, 1000, lambda body: echo(exchange, body))


def stream(exchange: Exchange) -> None:
    """An answer in two steps."""
    exchange.begin_stream(200, [(b"content-type", b"text/plain"), (b"content-length", b"0")])
    exchange.end_stream()


def ask(method: str, target: str, *headers: str, origins: tuple[str, ...] = (APP,)) -> Answer:
    """What comes back to one request."""
    kept: list[Answer] = []

    async def main() -> None:
        client = FakeClient(begin=CrossOrigin(origins, routes).begin)
        await client.send("\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *headers, "", ""]).encode())
        kept.extend(client.answers(method))

    run_at_once(main)
    (answer,) = kept
    return answer


def cors_headers(answer: Answer) -> set[str]:
    """The names of headers that open an answer to others."""
    return {name for name in answer.headers if name.startswith("access-control-")}


@pytest.mark.parametrize(("target", "status"), [("/", 200), ("/stream", 200), ("/bad", 400)])
def test_every_answer_to_an_allowed_origin_may_be_read(target: str, status: int) -> None:
    answer = ask("GET", target, f"Origin: {APP}")
    assert answer.status == status
    assert answer.headers[ALLOW] == APP
    assert answer.headers["vary"] == "origin"
    assert "served-model-name" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example.com", "http://app.example.com", f"{APP}:8443", "null", ""])
def test_no_other_origin_may_read_anything(origin: str) -> None:
    answer = ask("GET", "/", f"Origin: {origin}")
    assert cors_headers(answer) == set()
    assert answer.headers["vary"] == "origin"  # a cache must not hand this answer to the allowed origin


def test_a_request_without_an_origin_gets_no_such_headers() -> None:
    assert cors_headers(ask("GET", "/")) == set()


def test_any_origin_is_any_origin() -> None:
    answer = ask("GET", "/", "Origin: https://whoever.example.com", origins=("*",))
    assert answer.headers[ALLOW] == "*"
    assert "vary" not in answer.headers


def test_a_preflight_is_answered_without_asking_who_calls() -> None:
    headers = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,x-own"]
    answer = ask("OPTIONS", "/bad", f"Origin: {APP}", *headers)
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers
    assert answer.headers[ALLOW] == APP
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization,x-own"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        [f"Origin: {APP}"],
        ["Access-Control-Request-Method: POST"],
        ["Origin: https://evil.example.com", "Access-Control-Request-Method: POST"],
    ],
)
def test_what_is_no_preflight_of_an_allowed_origin_goes_the_usual_way(headers: list[str]) -> None:
    assert ask("OPTIONS", "/bad", *headers).status == 400


def test_the_origin_is_settled_here_and_not_asked_about_again() -> None:
    allowed = dict(ask("GET", "/", f"Origin: {APP}").json["headers"])
    other = dict(ask("GET", "/", "Origin: https://evil.example.com").json["headers"])
    assert "origin" not in allowed
    assert other["origin"] == "https://evil.example.com"
