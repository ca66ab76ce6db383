"""Use cases of browsers' log-ins: one-time codes, sessions, log-out.

Codes live in the memory of the control plane only: a code that has outlived a restart is worth nothing. Of codes and of
session ids alike only digests are kept.
"""

import secrets
from collections.abc import Callable

from penstock.control.clock import now_ms
from penstock.control.publisher import Publisher
from penstock.domain.access import digest_of
from penstock.domain.errors import TemporarilyUnavailable, Unauthenticated
from penstock.domain.sessions import (
    LOGIN_CODE_LIFETIME_MS,
    SESSION_LIFETIME_MS,
    LoginCode,
    Session,
    surplus,
)
from penstock.stores.database import Database

_SECRET_BYTES = 32


class Sessions:
    """All that can be done with log-ins. A *credential* is the digest of the token or session id of a request."""

    def __init__(self, database: Database, publisher: Publisher, now_ms: Callable[[], int] = now_ms) -> None:
        self._database = database
        self._publisher = publisher
        self._now_ms = now_ms
        self._codes: dict[str, LoginCode] = {}

    def of_credential(self, credential: str) -> Session | None:
        """The session that a request came with, if it came with one that still holds."""
        session = self._database.session(credential)
        return session if session is not None and session.expires_at_ms > self._now_ms() else None

    def make_code(self, principal: str, credential: str) -> tuple[LoginCode, str]:
        """A code that logs a browser in as the caller, and its secret. It works once, and not for long.

        Raises:
            Unauthenticated: the caller's token was revoked meanwhile.
        """
        token_id = self._token_behind(credential)
        now_ms = self._now_ms()
        self._codes = {d: code for d, code in self._codes.items() if code.expires_at_ms > now_ms}
        for digest in surplus([d for d, code in self._codes.items() if code.principal == principal]):
            del self._codes[digest]
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        code = LoginCode(digest_of(secret), token_id, principal, now_ms + LOGIN_CODE_LIFETIME_MS)
        self._codes[code.digest] = code
        return code, secret

    async def begin_by_token(self, token: str) -> str:
        """Log in; the new session's id, known to every gateway once this has returned.

        Raises:
            Unauthenticated: there is no such token.
        """
        found = self._database.token_of_digest(digest_of(token))
        if found is None:
            raise Unauthenticated("This token is unknown, or it has been revoked.")
        return await self._begin(found.id, found.principal)

    async def begin_by_code(self, secret: str) -> str:
        """Log in with a one-time code, as `begin_by_token` does.

        Raises:
            Unauthenticated: there is no such code, it was used, it is too old, or its token was revoked.
        """
        code = self._codes.pop(digest_of(secret), None)
        if code is None or code.expires_at_ms <= self._now_ms():
            raise Unauthenticated("This link was used already, or it is too old.")
        return await self._begin(code.token_id, code.principal)

    async def end(self, credential: str) -> None:
        """Log out. Every gateway refuses the session once this has returned; harmless if it has ended already.

        Raises:
            TemporarilyUnavailable: it has ended, but a gateway has not confirmed it in time.
        """
        self._database.delete_sessions([credential])
        if not await self._publisher.publish_and_settle():
            raise TemporarilyUnavailable("You are logged out, but a gateway has not confirmed it yet.")

    async def _begin(self, token_id: str, principal: str) -> str:
        now_ms = self._now_ms()
        known = self._database.sessions()
        expired = [session.digest for session in known if session.expires_at_ms <= now_ms]
        own = [s.digest for s in known if s.principal == principal and s.expires_at_ms > now_ms]
        self._database.delete_sessions([*expired, *surplus(own)])
        session_id = secrets.token_urlsafe(_SECRET_BYTES)
        session = Session(digest_of(session_id), token_id, principal, now_ms, now_ms + SESSION_LIFETIME_MS)
        if not self._database.insert_session(session):
            raise Unauthenticated("The token behind this log-in has been revoked.")
        await self._publisher.publish_and_settle()
        return session_id

    def _token_behind(self, credential: str) -> str:
        token = self._database.token_of_digest(credential)
        if token is not None:
            return token.id
        session = self.of_credential(credential)
        if session is None:
            raise Unauthenticated("The token or session of this request has ended meanwhile.")
        return session.token_id
