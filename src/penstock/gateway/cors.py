"""Cross-origin requests: which pages of other origins may call us from a browser, with a token.

Off unless origins are set. Credentials are never allowed across origins: a page sends a token of its own, no cookie.
"""

from penstock.gateway.exchange import Begin, Exchange, Sink
from penstock.gateway.headers import Headers
from penstock.gateway.sinks import WholeBody

ANY_ORIGIN = "*"
_MAX_IGNORED_BODY = 64 << 10
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_EXPOSED = "served-model-name, x-databricks-request-id, databricks-request-id, x-penstock-replica, retry-after"
_PREFLIGHT_MAX_AGE_S = 600


class CrossOrigin:
    """Stands before the routes: answers preflights, and marks every answer to an origin that is allowed."""

    def __init__(self, origins: tuple[str, ...], then: Begin) -> None:
        self._origins = frozenset(origins)
        self._is_any = ANY_ORIGIN in origins
        self._then = then

    def begin(self, exchange: Exchange) -> Sink:
        """Called in place of the routes' own `begin`."""
        if not self._is_any:
            exchange.extra_headers = (("vary", "origin"),)
        origin = exchange.header(b"origin")
        if origin is None or not (self._is_any or origin in self._origins):
            return self._then(exchange)
        asked = exchange.header(b"access-control-request-method")
        if exchange.method == b"OPTIONS" and asked is not None:
            headers = self._preflight(origin, exchange.header(b"access-control-request-headers"))
            return WholeBody(exchange, _MAX_IGNORED_BODY, lambda _: exchange.respond(204, b"", headers))
        exchange.extra_headers = (
            *exchange.extra_headers,
            self._allowed(origin),
            ("access-control-expose-headers", _EXPOSED),
        )
        # Decided here: MLflow has origins of its own that it lets in, and refuses all others.
        exchange.headers = [pair for pair in exchange.headers if pair[0].lower() != b"origin"]
        return self._then(exchange)

    def _allowed(self, origin: str) -> tuple[str, str]:
        return "access-control-allow-origin", ANY_ORIGIN if self._is_any else origin

    def _preflight(self, origin: str, headers: str | None) -> Headers:
        allowed = [self._allowed(origin), ("access-control-allow-methods", _METHODS)]
        if headers:
            allowed.append(("access-control-allow-headers", headers))
        return [*allowed, ("access-control-max-age", str(_PREFLIGHT_MAX_AGE_S))]
