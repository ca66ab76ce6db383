"""Events at rest: the newest of each endpoint."""

from collections.abc import Sequence

import sqlalchemy as sa

from penstock.domain.events import MAX_EVENTS, MAX_REASON_LENGTH, Event, EventKind, PastEvent
from penstock.stores.sql import metadata, transaction

endpoint_events = sa.Table(
    "endpoint_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("endpoint_id", sa.String, nullable=False, index=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("config_version", sa.Integer),
    sa.Column("entity", sa.String),
)

_endpoints = sa.table("endpoints", sa.column("id", sa.String))


class EventStore:
    """Writes and reads events, one call a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def events(self, endpoint_id: str, limit: int = MAX_EVENTS) -> list[PastEvent]:
        """The newest events of an endpoint, the newest first."""
        query = (
            sa.select(endpoint_events)
            .where(endpoint_events.c.endpoint_id == endpoint_id)
            .order_by(endpoint_events.c.id.desc())
            .limit(limit)
        )
        with transaction(self._engine) as connection:
            return [
                PastEvent(row.at_ms, Event(EventKind(row.kind), row.reason, row.config_version, row.entity))
                for row in connection.execute(query)
            ]

    def add(self, events: Sequence[tuple[str, Event]], now_ms: int) -> None:
        """Store events, each with the id of its endpoint; those of an endpoint that is gone are dropped."""
        owners = list(dict.fromkeys(endpoint_id for endpoint_id, _ in events))
        with transaction(self._engine) as connection:
            for endpoint_id in connection.scalars(sa.select(_endpoints.c.id).where(_endpoints.c.id.in_(owners))).all():
                write(connection, endpoint_id, [event for owner, event in events if owner == endpoint_id], now_ms)


def write(connection: sa.Connection, endpoint_id: str, events: Sequence[Event], now_ms: int) -> None:
    """Store events of one endpoint, and drop those that are too old."""
    if not events:
        return
    rows = [
        {
            "endpoint_id": endpoint_id,
            "at_ms": now_ms,
            "kind": event.kind.value,
            "reason": event.reason[:MAX_REASON_LENGTH],
            "config_version": event.config_version,
            "entity": event.entity,
        }
        for event in events
    ]
    connection.execute(sa.insert(endpoint_events), rows)
    own = endpoint_events.c.endpoint_id == endpoint_id
    newest_too_old = (
        sa.select(endpoint_events.c.id).where(own).order_by(endpoint_events.c.id.desc()).offset(MAX_EVENTS).limit(1)
    )
    connection.execute(sa.delete(endpoint_events).where(own, endpoint_events.c.id <= newest_too_old.scalar_subquery()))


def forget(connection: sa.Connection, endpoint_id: str) -> None:
    """Drop all events of an endpoint."""
    connection.execute(sa.delete(endpoint_events).where(endpoint_events.c.endpoint_id == endpoint_id))
