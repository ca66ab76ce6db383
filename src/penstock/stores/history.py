"""The history of configs at rest: a row for each version of an endpoint's config, sealed values included."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from penstock.domain.endpoint import Endpoint
from penstock.domain.history import MAX_VERSIONS, ConfigVersion
from penstock.stores.sql import metadata, transaction

config_versions = sa.Table(
    "config_versions",
    metadata,
    sa.Column("endpoint_id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)


class HistoryStore:
    """Reads the versions of configs; they are written with their endpoint."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def versions(self, endpoint_id: str, limit: int = MAX_VERSIONS + 1) -> list[ConfigVersion]:
        """The newest versions of an endpoint's config, the newest first."""
        query = (
            sa.select(config_versions.c.document)
            .where(config_versions.c.endpoint_id == endpoint_id)
            .order_by(config_versions.c.version.desc())
            .limit(limit)
        )
        with transaction(self._engine) as connection:
            return [msgspec.json.decode(document, type=ConfigVersion) for document in connection.scalars(query)]


def write(connection: sa.Connection, endpoint: Endpoint, versions: Iterable[ConfigVersion]) -> None:
    """Store versions in place of what there is of the same number, and drop those that are too old."""
    for version in versions:
        number = version.config.version
        here = sa.and_(config_versions.c.endpoint_id == endpoint.id, config_versions.c.version == number)
        text = msgspec.json.encode(version).decode()
        connection.execute(sa.delete(config_versions).where(here))
        connection.execute(sa.insert(config_versions).values(endpoint_id=endpoint.id, version=number, document=text))
        active = endpoint.active.version if endpoint.active is not None else 0
        connection.execute(
            sa.delete(config_versions).where(
                config_versions.c.endpoint_id == endpoint.id,
                config_versions.c.version <= endpoint.last_version - MAX_VERSIONS,
                config_versions.c.version != active,
            )
        )


def forget(connection: sa.Connection, endpoint_id: str) -> None:
    """Drop all versions of an endpoint."""
    connection.execute(sa.delete(config_versions).where(config_versions.c.endpoint_id == endpoint_id))
