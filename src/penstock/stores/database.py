"""State at rest: endpoints, tokens and sessions in SQL. The control plane is the only writer.

SQLite in WAL mode by default; calls are short and block. Endpoints are stored as one JSON document each, beside the
columns that are searched. What storing one means for its history, and the events that it makes, are written in the same
transaction: a crash loses and doubles neither.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec
import sqlalchemy as sa

from penstock.domain.access import Principal, Token
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import ResourceAlreadyExists
from penstock.domain.events import endpoint_events
from penstock.domain.history import recorded
from penstock.domain.sessions import Session
from penstock.faults import fault_point
from penstock.stores import events, history
from penstock.stores.sql import metadata, transaction

endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False, unique=True),
    sa.Column("comment", sa.String, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

principals = sa.Table(
    "principals",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("groups", sa.Text, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("token_id", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
)


class DatabaseUnusable(Exception):
    """The state database cannot be opened or brought to this release's schema."""


class Database:
    """Endpoints, tokens and sessions, one call a transaction."""

    def __init__(self, engine: sa.Engine, now_ms: Callable[[], int]) -> None:
        self.engine = engine
        """Shared with what keeps other state in the same database."""
        self._now_ms = now_ms

    @classmethod
    def open(cls, url: str, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> "Database":
        """Open the database, bringing its schema up to this release's; `now_ms` is the clock of what is recorded.

        Raises:
            DatabaseUnusable: it cannot be opened, or a newer release wrote it.
        """
        from penstock.stores.migrating import upgrade  # noqa: PLC0415 - whoever only reads starts sooner without it

        engine = sa.create_engine(url)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _configure_sqlite)
        upgrade(engine)
        return cls(engine, now_ms)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def endpoints(self) -> list[Endpoint]:
        """All endpoints, oldest first."""
        query = sa.select(endpoints.c.document).order_by(endpoints.c.created_at_ms, endpoints.c.name)
        with self._transaction() as connection:
            return [msgspec.json.decode(document, type=Endpoint) for document in connection.scalars(query)]

    def endpoint(self, name: str) -> Endpoint | None:
        """The endpoint of that name."""
        query = sa.select(endpoints.c.document).where(endpoints.c.name == name)
        with self._transaction() as connection:
            document = connection.scalar(query)
        return None if document is None else msgspec.json.decode(document, type=Endpoint)

    def endpoint_of_id(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint of that id."""
        query = sa.select(endpoints.c.document).where(endpoints.c.id == endpoint_id)
        with self._transaction() as connection:
            document = connection.scalar(query)
        return None if document is None else msgspec.json.decode(document, type=Endpoint)

    def insert_endpoint(self, endpoint: Endpoint) -> None:
        """Store a new endpoint, by its creator.

        Raises:
            ResourceAlreadyExists: the name is taken.
        """
        row = sa.insert(endpoints).values(
            id=endpoint.id,
            name=endpoint.name,
            created_at_ms=endpoint.created_at_ms,
            document=msgspec.json.encode(endpoint).decode(),
        )
        try:
            with self._changing() as connection:
                connection.execute(row)
                self._record(connection, None, endpoint, endpoint.creator)
        except sa.exc.IntegrityError as exc:
            raise ResourceAlreadyExists(f"Endpoint with name '{endpoint.name}' already exists.") from exc

    def save_endpoint(self, endpoint: Endpoint, by: str = "") -> None:
        """Replace what is stored under the endpoint's id; nothing happens if it was deleted.

        Args:
            endpoint: what it is from now on.
            by: the principal whose doing it is; empty if it is our own.
        """
        here = endpoints.c.id == endpoint.id
        with self._changing() as connection:
            document = connection.scalar(sa.select(endpoints.c.document).where(here))
            if document is None:
                return
            text = msgspec.json.encode(endpoint).decode()
            connection.execute(sa.update(endpoints).where(here).values(document=text))
            self._record(connection, msgspec.json.decode(document, type=Endpoint), endpoint, by)

    def _record(self, connection: sa.Connection, before: Endpoint | None, after: Endpoint, by: str) -> None:
        now_ms = self._now_ms()
        history.write(connection, after, recorded(before, after, now_ms))
        events.write(connection, after.id, endpoint_events(before, after, by), now_ms)

    def delete_endpoint(self, endpoint_id: str) -> None:
        """Forget an endpoint, its history and its events."""
        with self._changing() as connection:
            connection.execute(sa.delete(endpoints).where(endpoints.c.id == endpoint_id))
            history.forget(connection, endpoint_id)
            events.forget(connection, endpoint_id)

    @contextmanager
    def _changing(self) -> Iterator[sa.Connection]:
        """The transaction of one change of an endpoint."""
        with self._transaction() as connection:
            yield connection
            fault_point("config-before-commit")
        fault_point("config-after-commit")

    def tokens(self) -> list[Token]:
        """All tokens, oldest first."""
        query = sa.select(tokens).order_by(tokens.c.created_at_ms, tokens.c.id)
        with self._transaction() as connection:
            return [Token(**row) for row in connection.execute(query).mappings()]

    def insert_token(self, token: Token) -> None:
        """Store a new token."""
        row = sa.insert(tokens).values(
            id=token.id,
            principal=token.principal,
            digest=token.digest,
            comment=token.comment,
            created_at_ms=token.created_at_ms,
        )
        with self._transaction() as connection:
            connection.execute(row)

    def principals(self) -> list[Principal]:
        """All principals, by name."""
        query = sa.select(principals).order_by(principals.c.name)
        with self._transaction() as connection:
            return [_principal(row) for row in connection.execute(query)]

    def principal(self, name: str) -> Principal:
        """The principal of that name; one that was never stored has no groups."""
        query = sa.select(principals).where(principals.c.name == name)
        with self._transaction() as connection:
            row = connection.execute(query).first()
        return Principal(name) if row is None else _principal(row)

    def save_principal(self, principal: Principal) -> None:
        """Store a principal's groups in place of those it had."""
        with self._transaction() as connection:
            connection.execute(sa.delete(principals).where(principals.c.name == principal.name))
            connection.execute(sa.insert(principals).values(name=principal.name, groups=json.dumps(principal.groups)))

    def delete_token(self, token_id: str) -> bool:
        """Forget a token and the sessions that were made from it; False if there was none of that id."""
        with self._transaction() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.token_id == token_id))
            return connection.execute(sa.delete(tokens).where(tokens.c.id == token_id)).rowcount > 0

    def token_of_digest(self, digest: str) -> Token | None:
        """The token with that digest."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(tokens).where(tokens.c.digest == digest)).mappings().first()
        return None if row is None else Token(**row)

    def sessions(self) -> list[Session]:
        """All sessions, oldest first, expired ones among them."""
        query = sa.select(sessions).order_by(sessions.c.created_at_ms, sessions.c.digest)
        with self._transaction() as connection:
            return [Session(**row) for row in connection.execute(query).mappings()]

    def session(self, digest: str) -> Session | None:
        """The session with that digest, expired or not."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(sessions).where(sessions.c.digest == digest)).mappings().first()
        return None if row is None else Session(**row)

    def insert_session(self, session: Session) -> bool:
        """Store a new session; False, and nothing is stored, if its token is gone."""
        row = {name: getattr(session, name) for name in sessions.c.keys()}  # noqa: SIM118 - names, not columns
        with self._transaction() as connection:
            if connection.scalar(sa.select(tokens.c.id).where(tokens.c.id == session.token_id)) is None:
                return False
            connection.execute(sa.insert(sessions).values(row))
            return True

    def delete_sessions(self, digests: Collection[str]) -> None:
        """Forget these sessions; those that are gone already do not matter."""
        with self._transaction() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.digest.in_(digests)))

    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        return transaction(self.engine)


def _principal(row: sa.Row[Any]) -> Principal:
    return Principal(row.name, tuple(json.loads(row.groups)))


def _configure_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
