"""The gateway's routes: who asks, for what, and which part answers. Top to bottom is the order of a request."""

import json
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from penstock.domain.access import opens
from penstock.domain.audit import AuthenticationFailure
from penstock.domain.errors import (
    BadRequest,
    MethodNotAllowed,
    PenstockError,
    PermissionDenied,
    ResourceDoesNotExist,
    RouteNotFound,
    TemporarilyUnavailable,
    Unauthenticated,
)
from penstock.domain.prediction import Api
from penstock.domain.routing import Access
from penstock.domain.sessions import cookie_covers, cookie_name
from penstock.gateway.credentials import Caller, caller_of, session_caller_of
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.invocations import Invocations
from penstock.gateway.passage import KnownPassages
from penstock.gateway.proxy import Upstream
from penstock.gateway.reporting import Refusals
from penstock.gateway.sandbox import sandbox_of
from penstock.gateway.sinks import Discard, WholeBody
from penstock.gateway.table import CurrentTable
from penstock.wire.openai import encode_model, encode_models

_MLFLOW_PREFIXES = (
    "/api/2.0/mlflow/",
    "/api/3.0/mlflow/",
    "/api/2.0/mlflow-artifacts/",
    "/ajax-api/",
    "/v1/traces",
)
_MLFLOW_UI = "/mlflow"
_LOGIN, _LOGOUT = "/login", "/logout"
_QUERY_ROOT = "serving-endpoints"
_OPENAI_ROUTES = frozenset(Api) - {Api.INVOCATIONS}
_HEALTHY = b'{"status":"healthy"}'
_WELL_KNOWN = json.dumps({"oidc_endpoint": ""}).encode()
_MAX_IGNORED_BODY = 64 << 10
_MAX_TOLD = 200
"""Characters of a path or a header that are told of a request whose sender we do not know."""


class Gateway:
    """Chooses the sink of every exchange."""

    def __init__(
        self,
        table: CurrentTable,
        invocations: Invocations,
        control_plane: Upstream,
        mlflow: Upstream,
        *,
        is_secure: bool = False,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`is_secure` is whether browsers reach us over TLS: it decides the name of the session's cookie."""
        self.refusals = Refusals()
        self._table = table
        self._invocations = invocations
        self._control_plane = control_plane
        self._mlflow = mlflow
        self._cookie = cookie_name(is_secure=is_secure)
        self._now_s = now_s
        self._passages = KnownPassages()
        """Of callers with a token: a session may end at any time."""
        self.is_draining = False

    def begin(self, exchange: Exchange) -> Sink:
        """Called when an exchange's headers are there and its turn has come."""
        passage = self._passages.get(exchange.head.key)
        if passage is not None and passage.generation == self._table.generation:
            return self._invocations.enter(exchange, passage)
        sink = self._choose(exchange)
        if isinstance(sink, Discard):
            self.refusals.count(sink.error.error_code)
        return sink

    def _choose(self, exchange: Exchange) -> Sink:
        try:
            target = exchange.target.decode("ascii")
        except UnicodeDecodeError:
            return Discard(exchange, BadRequest("The request's target holds bytes that are not ASCII."))
        if not target.startswith("/"):
            return Discard(exchange, BadRequest("The request's target is not a path."))
        path = target.partition("?")[0]
        if path == "/health":
            return self._health(exchange)
        if self._table.version is None:
            return Discard(exchange, TemporarilyUnavailable("The gateway is starting."))
        if path == "/.well-known/databricks-config":
            return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(200, _WELL_KNOWN))
        if path in {_LOGIN, _LOGOUT}:
            return self._login(exchange, target, path)
        caller = caller_of(exchange, self._table, self._cookie, self._now_s() * 1000)
        if caller is None:
            return self._unauthenticated(exchange, path)
        if caller.is_session and not _cookie_covers(exchange):
            return Discard(exchange, _not_from_our_page(exchange))
        if not opens(caller.access.scope, exchange.method.decode("latin-1"), path):
            return Discard(exchange, PermissionDenied(f"This token does not open {path}."))
        return self._route(exchange, caller, target, path)

    def _route(self, exchange: Exchange, caller: Caller, target: str, path: str) -> Sink:
        segments = path.split("/")
        if segments[1] == _QUERY_ROOT:
            return self._query(exchange, caller.access, [unquote(segment) for segment in segments[2:]], path)
        if path.startswith(_MLFLOW_PREFIXES):
            return self._mlflow.pass_on(exchange, target, headers=sandbox_of(path))
        if path == _MLFLOW_UI:
            return _redirect(exchange, 308, f"{_MLFLOW_UI}/")
        if path.startswith(f"{_MLFLOW_UI}/"):
            headers = sandbox_of(path.removeprefix(_MLFLOW_UI))
            return self._mlflow.pass_on(exchange, target.removeprefix(_MLFLOW_UI), headers=headers)
        if path == "/" and _is_opened_in_a_browser(exchange):
            return _redirect(exchange, 303, f"{_MLFLOW_UI}/")
        return self._control_plane.pass_on(exchange, target, caller.access.principal, caller.credential)

    def _login(self, exchange: Exchange, target: str, path: str) -> Sink:
        """The pages for those whom we do not know yet; if we do, the control plane is told the session."""
        if path == _LOGOUT and not _cookie_covers(exchange):
            return Discard(exchange, _not_from_our_page(exchange))
        caller = session_caller_of(exchange, self._table, self._cookie, self._now_s() * 1000)
        return self._control_plane.pass_on(exchange, target, credential=caller.credential if caller else None)

    def _health(self, exchange: Exchange) -> Sink:
        if self._table.version is None or self.is_draining:
            state = "draining" if self.is_draining else "starting"
            return Discard(exchange, TemporarilyUnavailable(f"The gateway is {state}."))
        return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(200, _HEALTHY))

    def _unauthenticated(self, exchange: Exchange, path: str) -> Sink:
        if exchange.authorization is None:
            is_page = path in {"/", _MLFLOW_UI} or path.startswith(f"{_MLFLOW_UI}/")
            if is_page and _is_opened_in_a_browser(exchange):
                return _redirect(exchange, 303, _LOGIN)
            message = "The request has no token; send it as 'Authorization: Bearer <token>'."
        else:
            message = "The token is unknown, or it has been revoked."
        self.refusals.note(self._failure(exchange, path, message))
        return Discard(exchange, Unauthenticated(message))

    def _failure(self, exchange: Exchange, path: str, message: str) -> AuthenticationFailure:
        method, agent = exchange.method.decode("latin-1"), exchange.header(b"user-agent") or ""
        return AuthenticationFailure(
            int(self._now_s() * 1000), method, path[:_MAX_TOLD], exchange.client_address, agent[:_MAX_TOLD], message
        )

    def _query(self, exchange: Exchange, access: Access, segments: list[str], path: str) -> Sink:
        wanted = b"POST"
        begin: Callable[[], Sink]
        match segments:
            case [name, "invocations"]:
                begin = partial(self._predict, exchange, access, name, None)
            case [name, "served-models", entity, "invocations"]:
                begin = partial(self._predict, exchange, access, name, entity)
            case ["models", *names] if len(names) <= 1:
                wanted = b"GET"
                begin = partial(self._models, exchange, access, *names)
            case _ if (api := "/".join(segments)) in _OPENAI_ROUTES:
                begin = partial(self._invocations.begin_openai, exchange, access, Api(api))
            case _:
                return Discard(exchange, RouteNotFound(f"There is no route {path}."))
        if exchange.method != wanted:
            method, allowed = exchange.method.decode("latin-1"), wanted.decode()
            return Discard(exchange, MethodNotAllowed(f"{path} takes {allowed}, not {method}."), {"allow": allowed})
        return begin()

    def _predict(self, exchange: Exchange, access: Access, endpoint_name: str, entity_name: str | None) -> Sink:
        try:
            passage = self._invocations.passage(
                access, endpoint_name, entity_name, Api.INVOCATIONS, exchange.content_type
            )
        except PenstockError as exc:
            return Discard(exchange, exc)
        if exchange.authorization is not None and passage.is_open:
            self._passages.remember(exchange.head.key, passage)
        return self._invocations.begin(exchange, passage)

    def _models(self, exchange: Exchange, access: Access, name: str | None = None) -> Sink:
        """What OpenAI's clients call models: the endpoints that the caller may query, or one of them."""
        names = self._table.open_to(access)
        if name is not None and name not in names:
            return Discard(exchange, ResourceDoesNotExist(f"Endpoint with name '{name}' does not exist."))
        body = json.dumps(encode_models(names) if name is None else encode_model(name)).encode()
        return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(200, body))


def _cookie_covers(exchange: Exchange) -> bool:
    return cookie_covers(
        exchange.method.decode("latin-1"), exchange.header(b"sec-fetch-site"), exchange.header(b"sec-fetch-mode")
    )


def _not_from_our_page(exchange: Exchange) -> PermissionDenied:
    site = exchange.header(b"sec-fetch-site")
    return PermissionDenied(
        "With a cookie alone a request must come from a page of this address: wanted the header 'Sec-Fetch-Site: "
        f"same-origin', got {'no such header' if site is None else repr(site[:40])}. Browsers send it over https and "
        "to localhost. Programs send a token instead."
    )


def _is_opened_in_a_browser(exchange: Exchange) -> bool:
    """Whether somebody waits for a page, and not a program for data."""
    return exchange.method in {b"GET", b"HEAD"} and "text/html" in (exchange.header(b"accept") or "")


def _redirect(exchange: Exchange, status: int, location: str) -> Sink:
    headers = (("location", location), ("cache-control", "no-store"))
    return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(status, b"", headers))
