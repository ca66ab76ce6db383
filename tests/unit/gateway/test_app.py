"""The gateway's routes and tokens, with an HTTP client in front and nothing behind."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.domain.access import Scope, digest_of
from penstock.domain.routing import Access, RoutedEndpoint, RoutedEntity, RoutedSession, RoutingTable
from penstock.gateway.app import Gateway
from penstock.gateway.call import Call, CallState
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.invocations import MAX_BODY_BYTES, Invocations
from penstock.gateway.load import LoadMeter
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.gateway.sinks import WholeBody
from penstock.gateway.table import CurrentTable
from penstock.wire.frames import Head, split_request
from penstock.wire.sockets import SocketFolder
from unit.clock import run_at_once
from unit.gateway.fakes import Answer, FakeClient


@dataclass(eq=False)
class AnsweringBackend:
    """Answers every call with its body."""

    entity: RoutedEntity
    content_types: list[str] = field(default_factory=list)

    def submit(self, call: Call) -> None:
        self.content_types.append(split_request(call.meta)[0].content_type)
        call.state = CallState.STARTED
        body = call.body or b"-"
        call.begin(Head(200, "application/json"), self.entity.slots[0])
        call.take(body)
        call.finish()

    def retire(self) -> None:
        """Nothing to close."""


class FakeUpstream:
    """Answers with what it was passed."""

    def __init__(self, name: str) -> None:
        self._name = name

    def pass_on(
        self,
        exchange: Exchange,
        target: str,
        principal: str | None = None,
        credential: str | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> Sink:
        answer = f"{self._name} {target} {principal or 'nobody'}".encode()
        told = [("x-credential", credential)] if credential else []
        own = [*told, *((name.decode(), value.decode()) for name, value in headers)]
        return WholeBody(exchange, 1000, lambda _: exchange.respond(200, answer, own))


def routed(name: str, percentage: int) -> RoutedEntity:
    """An entity with one slot."""
    return RoutedEntity(name, "1" * 32, f"key-{name}", (f"key-{name}-0",), percentage, 297.0, 10)


QUERIERS = ("user_name:ann", "group_name:team")
TABLE = RoutingTable(
    1,
    {
        "x": RoutedEndpoint("e" * 32, "x", 1, (routed("a", 90), routed("b", 10)), queriers=QUERIERS),
        "off": RoutedEndpoint("f" * 32, "off", reason="Endpoint 'off' is stopped.", queriers=QUERIERS),
    },
    {
        digest_of("pst_ann"): Access("ann"),
        digest_of("pst_replica"): Access("replica", Scope.READ_MODELS),
        digest_of("pst_bob"): Access("bob"),
        digest_of("pst_team"): Access("carol", groups=("team",)),
        digest_of("pst_admin"): Access("dora", groups=("admins",)),
    },
    {
        digest_of("s-ann"): RoutedSession(Access("ann"), 2_000_000),
        digest_of("s-bob"): RoutedSession(Access("bob"), 2_000_000),
        digest_of("s-over"): RoutedSession(Access("ann"), 1_000_000),
    },
)
NOW_S = 1000.0
COOKIE = "Cookie: other=1; penstock_session=s-ann"
BROWSER = "Accept: text/html,application/xhtml+xml"


def ask(
    method: str, target: str, *headers: str, token: str | None = "pst_ann", body: bytes = b"", **options: object
) -> Answer:
    """What the gateway answers to one request; it goes on afterwards."""
    kept: list[Answer] = []

    async def main() -> None:
        table = CurrentTable(AnsweringBackend)  # type: ignore[arg-type]
        if options.get("has_table", True):
            table.swap(TABLE)
        gateway = Gateway(
            table,
            Invocations(
                table,
                lambda: float(str(options.get("draw", 0.0))),
                LoadMeter(),
                Orphans(asyncio.get_running_loop().call_later),
                Siblings(SocketFolder(Path()), ()),
            ),
            FakeUpstream("control"),  # type: ignore[arg-type]
            FakeUpstream("mlflow"),  # type: ignore[arg-type]
            is_secure=bool(options.get("is_secure")),
            now_s=lambda: NOW_S,
        )
        gateway.is_draining = bool(options.get("is_draining"))
        client = FakeClient(begin=gateway.begin)
        lines = [f"{method} {target} HTTP/1.1", "Host: h", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        await client.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        kept.extend(client.answers(method))

    run_at_once(main)
    (answer,) = kept
    return answer


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code of an error."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["message"]
    return answer.status, answer.json["error_code"]


@pytest.mark.parametrize("token", [None, "pst_unknown"])
@pytest.mark.parametrize(
    "target", ["/api/2.0/serving-endpoints", "/serving-endpoints/x/invocations", "/api/2.0/mlflow/x", "/", "/mlflow/"]
)
def test_nothing_is_open_without_a_token_that_we_know(target: str, token: str | None) -> None:
    answer = ask("POST", target, token=token, body=b"{}")
    assert refusal(answer) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"  # a browser asks nobody for a password


def test_garbage_for_a_token_is_refused_like_an_unknown_one() -> None:
    answer = ask("GET", "/api/2.0/serving-endpoints", "Authorization: Basic \xe9", token=None)
    assert refusal(answer) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(("token", "may"), [("ann", True), ("team", True), ("admin", True), ("bob", False)])
def test_queries_are_for_those_who_may(token: str, may: bool) -> None:
    answer = ask("POST", "/serving-endpoints/x/invocations", token=f"pst_{token}", body=b"{}")
    if may:
        assert answer.status == 200
    else:
        assert refusal(answer) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(("target", "status"), [("/health", 200), ("/.well-known/databricks-config", 200)])
def test_health_and_the_well_known_document_need_no_token(target: str, status: int) -> None:
    assert ask("GET", target, token=None).status == status


@pytest.mark.parametrize("options", [{"has_table": False}, {"is_draining": True}])
def test_a_gateway_that_cannot_serve_is_not_healthy(options: dict[str, bool]) -> None:
    answer = ask("GET", "/health", token=None, **options)
    assert refusal(answer) == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"


def test_without_a_table_nothing_is_answered_but_try_later() -> None:
    answer = ask("POST", "/serving-endpoints/x/invocations", body=b"{}", has_table=False)
    assert refusal(answer) == (503, "TEMPORARILY_UNAVAILABLE")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/2.0/serving-endpoints?x=1", "control /api/2.0/serving-endpoints?x=1 ann"),
        ("/api/2.0/mlflow/runs/create", "mlflow /api/2.0/mlflow/runs/create nobody"),
        ("/api/2.0/mlflow-artifacts/artifacts/a%2Fb", "mlflow /api/2.0/mlflow-artifacts/artifacts/a%2Fb nobody"),
        ("/ajax-api/2.0/x", "mlflow /ajax-api/2.0/x nobody"),
        ("/mlflow/", "mlflow / nobody"),
        ("/mlflow/static-files/a.js?v=1", "mlflow /static-files/a.js?v=1 nobody"),
        ("/nonsense", "control /nonsense ann"),
    ],
)
def test_every_path_goes_to_its_server_and_only_ours_is_told_the_principal(target: str, expected: str) -> None:
    assert ask("GET", target).body.decode() == expected


@pytest.mark.parametrize(
    ("target", "is_sandboxed"),
    [
        ("/mlflow/", False),
        ("/mlflow/?x=get-artifact", False),
        ("/mlflow/static-files/static/js/main.js", False),
        ("/mlflow/get-artifact?path=a.html&run_uuid=1", True),
        ("/mlflow/%67et-artifact?path=a.html&run_uuid=1", True),
        ("/mlflow//get-artifact?path=a.html&run_uuid=1", True),
        ("/mlflow/model-versions/get-artifact?path=a.html&name=m&version=1", True),
        ("/mlflow/ajax-api/2.0/mlflow/logged-models/m-1/artifacts/files?artifact_file_path=a.html", True),
        ("/ajax-api/2.0/mlflow/get-trace-artifact?request_id=1", True),
        ("/ajax-api/3.0/mlflow/get-trace-artifact?request_id=1", True),
        ("/ajax-api/2.0/mlflow-artifacts/artifacts/1/a.html", True),
        ("/api/2.0/mlflow-artifacts/artifacts/1/a.html", True),
    ],
)
def test_what_mlflow_answers_is_sandboxed_but_for_its_own_page(target: str, is_sandboxed: bool) -> None:
    headers = ask("GET", target).headers
    assert headers.get("content-security-policy") == ("sandbox" if is_sandboxed else None)
    assert headers.get("x-content-type-options") == ("nosniff" if is_sandboxed else None)


def test_the_ui_without_its_slash_is_redirected() -> None:
    answer = ask("GET", "/mlflow")
    assert (answer.status, answer.headers["location"]) == (308, "/mlflow/")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/serving-endpoints/x/invocations"),
        ("GET", "/api/2.0/serving-endpoints"),
        ("POST", "/api/2.0/mlflow/runs/create"),
        ("GET", "/mlflow/"),
    ],
)
def test_a_replica_s_token_opens_models_only(method: str, target: str) -> None:
    assert refusal(ask(method, target, token="pst_replica")) == (403, "PERMISSION_DENIED")
    assert ask("GET", "/api/2.0/mlflow/model-versions/get", token="pst_replica").status == 200


@pytest.mark.parametrize(("draw", "name"), [(0.0, "a"), (0.89, "a"), (0.9, "b")])
def test_a_prediction_is_answered_by_the_entity_that_was_drawn(draw: float, name: str) -> None:
    answer = ask("POST", "/serving-endpoints/x/invocations", body=b'{"inputs": [1]}', draw=draw)
    assert answer.status == 200
    assert answer.body == b'{"inputs": [1]}'
    assert answer.headers["served-model-name"] == name
    assert answer.headers["x-penstock-replica"] == f"key-{name}-0"
    assert answer.headers["databricks-request-id"] == answer.headers["x-databricks-request-id"] != ""


def test_a_prediction_may_name_its_entity_and_be_percent_encoded() -> None:
    answer = ask("POST", "/serving-endpoints/%78/served-models/b/invocations?a=b", body=b"{}")
    assert (answer.status, answer.headers["served-model-name"]) == (200, "b")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("POST", "/serving-endpoints/nope/invocations", (404, "RESOURCE_DOES_NOT_EXIST")),
        ("POST", "/serving-endpoints/x/served-models/z/invocations", (404, "RESOURCE_DOES_NOT_EXIST")),
        ("POST", "/serving-endpoints/off/invocations", (400, "BAD_REQUEST")),
        ("POST", "/serving-endpoints/x", (404, "ENDPOINT_NOT_FOUND")),
        ("POST", "/serving-endpoints/x/invocations/", (404, "ENDPOINT_NOT_FOUND")),
        ("GET", "/serving-endpoints/x/invocations", (405, "ENDPOINT_NOT_FOUND")),
    ],
)
def test_a_prediction_that_cannot_be_made_is_refused(method: str, target: str, expected: tuple[int, str]) -> None:
    answer = ask(method, target, body=b"{}")
    assert refusal(answer) == expected
    if expected[0] == 405:
        assert answer.headers["allow"] == "POST"


def test_a_prediction_without_a_body_reaches_its_entity() -> None:
    assert ask("POST", "/serving-endpoints/x/invocations").body == b"-"


def test_a_prediction_over_sixteen_mebibytes_is_refused() -> None:
    headers = [f"Content-Length: {MAX_BODY_BYTES + 1}", "Expect: 100-continue"]
    answer = ask("POST", "/serving-endpoints/x/invocations", *headers)
    assert refusal(answer) == (413, "BAD_REQUEST")


def test_a_content_type_of_any_length_is_answered() -> None:
    answer = ask("POST", "/serving-endpoints/x/invocations", "Content-Type: a/b; c=" + "\\" * 40_000, body=b"{}")
    assert answer.status in {200, 400, 415}


@pytest.mark.parametrize("target", ["*", "http://h/health", "h:80"])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    answer = ask("OPTIONS", target)
    assert refusal(answer) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("target", ["/", "/mlflow", "/mlflow/", "/mlflow/?a=b"])
def test_a_browser_that_we_do_not_know_is_sent_to_the_log_in(target: str) -> None:
    answer = ask("GET", target, BROWSER, token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "target", "token"),
    [("POST", "/mlflow/", None), ("GET", "/mlflow/", "pst_unknown"), ("GET", "/api/2.0/serving-endpoints", None)],
)
def test_whoever_is_no_browser_that_opens_a_page_gets_the_error(method: str, target: str, token: str | None) -> None:
    assert refusal(ask(method, target, BROWSER, token=token)) == (401, "UNAUTHENTICATED")


def test_the_root_leads_a_browser_to_the_ui_and_nobody_else() -> None:
    answer = ask("GET", "/", BROWSER, COOKIE, token=None)
    assert (answer.status, answer.headers["location"]) == (303, "/mlflow/")
    assert ask("GET", "/").body == b"control / ann"


def test_a_session_opens_what_its_principal_may() -> None:
    same = "Sec-Fetch-Site: same-origin"
    assert ask("GET", "/mlflow/", COOKIE, token=None).body == b"mlflow / nobody"
    seen = ask("GET", "/api/2.0/serving-endpoints", COOKIE, token=None)
    assert seen.body == b"control /api/2.0/serving-endpoints ann"
    assert seen.headers["x-credential"] == digest_of("s-ann")
    query = "/serving-endpoints/x/invocations"
    assert ask("POST", query, COOKIE, same, token=None, body=b"{}").status == 200
    bobs = COOKIE.replace("s-ann", "s-bob")
    assert refusal(ask("POST", query, bobs, same, token=None, body=b"{}")) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("cookie", "options"),
    [
        ("penstock_session=s-over", {}),
        ("penstock_session=s-unknown", {}),
        ("penstock_session=pst_ann", {}),
        (f"penstock_session={digest_of('s-ann')}", {}),
        ("penstock_session", {}),
        ("session=s-ann", {}),
        ("penstock_session=s-ann", {"is_secure": True}),
        ("__Host-penstock_session=s-ann", {}),
        ("\xff\xfe=\xff; penstock_session=\xff", {}),
    ],
)
def test_a_cookie_that_is_no_session_of_now_opens_nothing(cookie: str, options: dict[str, bool]) -> None:
    answer = ask("GET", "/mlflow/", f"Cookie: {cookie}", token=None, **options)
    assert refusal(answer) == (401, "UNAUTHENTICATED")


def test_under_tls_the_cookie_has_its_other_name() -> None:
    answer = ask("GET", "/mlflow/", "Cookie: __Host-penstock_session=s-ann", token=None, is_secure=True)
    assert answer.status == 200


def test_a_session_s_id_is_no_token() -> None:
    assert refusal(ask("GET", "/mlflow/", token="s-ann")) == (401, "UNAUTHENTICATED")


def test_a_token_wins_over_a_cookie() -> None:
    path = "/api/2.0/serving-endpoints"
    assert ask("POST", path, COOKIE, token="pst_bob", body=b"{}").body == b"control /api/2.0/serving-endpoints bob"
    assert refusal(ask("GET", path, COOKIE, token="pst_unknown")) == (401, "UNAUTHENTICATED")


def test_a_cookie_alone_changes_nothing_unless_a_page_of_ours_asks() -> None:
    path = "/api/2.0/serving-endpoints"
    for header in ("X: y", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"):
        assert refusal(ask("POST", path, COOKIE, header, token=None, body=b"{}")) == (403, "PERMISSION_DENIED")
    assert refusal(ask("GET", path, COOKIE, "Sec-Fetch-Site: cross-site", token=None)) == (403, "PERMISSION_DENIED")


def test_log_in_and_log_out_are_for_everybody_and_tell_the_session() -> None:
    assert ask("GET", "/login?code=x", token=None).body == b"control /login?code=x nobody"
    assert ask("POST", "/login", token=None, body=b"token=x").body == b"control /login nobody"
    known = ask("POST", "/logout", COOKIE, "Sec-Fetch-Site: same-origin", token=None)
    assert (known.body, known.headers["x-credential"]) == (b"control /logout nobody", digest_of("s-ann"))
    assert "x-credential" not in ask("GET", "/login", "Cookie: penstock_session=s-over", token=None).headers


@pytest.mark.parametrize("header", ["X: y", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"])
def test_nobody_is_logged_out_by_a_page_of_somebody_else(header: str) -> None:
    assert refusal(ask("POST", "/logout", COOKIE, header, token=None)) == (403, "PERMISSION_DENIED")
