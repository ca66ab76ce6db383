"""Who asks: a token in the Authorization header, or, only where that header is missing, a session in a cookie."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.domain.access import digest_of
from penstock.domain.routing import Access
from penstock.domain.sessions import cookie_name
from penstock.gateway.exchange import Exchange
from penstock.gateway.table import CurrentTable

_COOKIE_NAMES = frozenset(cookie_name(is_secure=is_secure).encode() for is_secure in (False, True))


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whom we know, and what they showed."""

    access: Access
    secret: str = field(repr=False)
    is_session: bool = False

    @property
    def credential(self) -> str:
        """The digest of what was shown, by which the control plane knows it."""
        return digest_of(self.secret)


def caller_of(exchange: Exchange, table: CurrentTable, cookie: str, now_ms: float) -> Caller | None:
    """Who sends a request; None if nobody whom we know."""
    if exchange.authorization is None:
        return session_caller_of(exchange, table, cookie, now_ms)
    token = token_of(exchange.authorization)
    access = None if token is None else table.access_of(token)
    return None if token is None or access is None else Caller(access, token)


def session_caller_of(exchange: Exchange, table: CurrentTable, cookie: str, now_ms: float) -> Caller | None:
    """Whose browser sends a request, by its cookie alone."""
    for name, value in _cookies(exchange):
        if name == cookie.encode():
            session_id = value.decode("latin-1")
            access = table.access_of_session(session_id, now_ms)
            if access is not None:
                return Caller(access, session_id, is_session=True)
    return None


def token_of(authorization: bytes | None) -> str | None:
    """The token in an Authorization header: a Bearer's, or the password of Basic."""
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


def without_session(cookies: bytes) -> bytes:
    """A Cookie header without our own: a session's id is nobody's business behind the gateway."""
    kept = [pair.strip() for pair in cookies.split(b";") if pair.partition(b"=")[0].strip() not in _COOKIE_NAMES]
    return b"; ".join(kept)


def _cookies(exchange: Exchange) -> Iterator[tuple[bytes, bytes]]:
    for header, cookies in exchange.headers:
        if header.lower() == b"cookie":
            for pair in cookies.split(b";"):
                name, _, value = pair.partition(b"=")
                yield name.strip(), value.strip()
