"""The gateway's routes: who asks, for what, and which part answers. Top to bottom is the order of a request."""

import base64
import binascii
import json
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from penstock.domain.access import opens
from penstock.domain.errors import (
    BadRequest,
    MethodNotAllowed,
    PermissionDenied,
    ResourceDoesNotExist,
    RouteNotFound,
    TemporarilyUnavailable,
    Unauthenticated,
)
from penstock.domain.prediction import Api
from penstock.domain.routing import Access
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.invocations import Invocations
from penstock.gateway.proxy import Upstream
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
_QUERY_ROOT = "serving-endpoints"
_OPENAI_ROUTES = frozenset(Api) - {Api.INVOCATIONS}
_HEALTHY = b'{"status":"healthy"}'
_WELL_KNOWN = json.dumps({"oidc_endpoint": ""}).encode()
_MAX_IGNORED_BODY = 64 << 10


class Gateway:
    """Chooses the sink of every exchange."""

    def __init__(
        self, table: CurrentTable, invocations: Invocations, control_plane: Upstream, mlflow: Upstream
    ) -> None:
        self._table = table
        self._invocations = invocations
        self._control_plane = control_plane
        self._mlflow = mlflow
        self.is_draining = False

    def begin(self, exchange: Exchange) -> Sink:
        """Called when an exchange's headers are there and its turn has come."""
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
        access = self._authenticate(exchange)
        if access is None:
            return self._unauthenticated(exchange, path)
        if not opens(access.scope, exchange.method.decode("latin-1"), path):
            return Discard(exchange, PermissionDenied(f"This token does not open {path}."))
        segments = path.split("/")
        if segments[1] == _QUERY_ROOT:
            return self._query(exchange, access, [unquote(segment) for segment in segments[2:]], path)
        if path.startswith(_MLFLOW_PREFIXES):
            return self._mlflow.pass_on(exchange, target)
        if path == _MLFLOW_UI:
            headers = (("location", f"{_MLFLOW_UI}/"),)
            return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(308, b"", headers))
        if path.startswith(f"{_MLFLOW_UI}/"):
            return self._mlflow.pass_on(exchange, target.removeprefix(_MLFLOW_UI))
        return self._control_plane.pass_on(exchange, target, access.principal)

    def _health(self, exchange: Exchange) -> Sink:
        if self._table.version is None or self.is_draining:
            state = "draining" if self.is_draining else "starting"
            return Discard(exchange, TemporarilyUnavailable(f"The gateway is {state}."))
        return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(200, _HEALTHY))

    def _authenticate(self, exchange: Exchange) -> Access | None:
        token = token_of(exchange.authorization)
        return None if token is None else self._table.access_of(token)

    def _unauthenticated(self, exchange: Exchange, path: str) -> Sink:
        if exchange.authorization is None:
            message = "The request has no token; send it as 'Authorization: Bearer <token>'."
        else:
            message = "The token is unknown, or it has been revoked."
        # Browsers ask a person for the token only if they are told to, and only on the pages meant for people.
        challenge = {"www-authenticate": 'Basic realm="penstock"'} if path.startswith(_MLFLOW_UI) else None
        return Discard(exchange, Unauthenticated(message), challenge)

    def _query(self, exchange: Exchange, access: Access, segments: list[str], path: str) -> Sink:
        wanted = b"POST"
        begin: Callable[[], Sink]
        match segments:
            case [name, "invocations"]:
                begin = partial(self._invocations.begin, exchange, access, name, None)
            case [name, "served-models", entity, "invocations"]:
                begin = partial(self._invocations.begin, exchange, access, name, entity)
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

    def _models(self, exchange: Exchange, access: Access, name: str | None = None) -> Sink:
        """What OpenAI's clients call models: the endpoints that the caller may query, or one of them."""
        names = self._table.open_to(access)
        if name is not None and name not in names:
            return Discard(exchange, ResourceDoesNotExist(f"Endpoint with name '{name}' does not exist."))
        body = json.dumps(encode_models(names) if name is None else encode_model(name)).encode()
        return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(200, body))


def token_of(authorization: bytes | None) -> str | None:
    """The token in an Authorization header: a Bearer's, or the password of Basic, as browsers send it."""
    if authorization is None:
        return None
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer":
            return credentials or None
        case "basic":
            try:
                pair = base64.b64decode(credentials.encode("latin-1"), validate=True).decode("utf-8", "surrogateescape")
            except binascii.Error:
                return None
            return pair.partition(":")[2] or None
        case _:
            return None
