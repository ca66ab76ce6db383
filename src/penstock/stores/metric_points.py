"""The past of metrics at rest: a SQLite file of its own, beside the state, bounded by what is kept of each entity.

It is worth nothing but to look at: it is in no backup, and a file that cannot be read is begun anew.
"""

import contextlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
import sqlalchemy as sa

from penstock.domain.metric_history import RETENTION_S, Point, downsample
from penstock.stores.sql import transaction

VERSION = 1

_log = logging.getLogger(__name__)

_metadata = sa.MetaData()
_points = sa.Table(
    "points",
    _metadata,
    sa.Column("endpoint_id", sa.String, primary_key=True),
    sa.Column("entity", sa.String, primary_key=True),
    sa.Column("resolution_s", sa.Integer, primary_key=True),
    sa.Column("at_s", sa.BigInteger, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

Owner = tuple[str, str]
"""The id of an endpoint and the name of a served entity."""


class MetricPoints:
    """Writes and reads points, one call a transaction. To be used by one thread at a time, which may change."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, file: Path) -> "MetricPoints":
        """Open the file, or begin it anew if it cannot be read or is of another version.

        Raises:
            OSError: it cannot be written.
        """
        with contextlib.suppress(sa.exc.DatabaseError):
            return cls._opened(file)
        _log.warning("%s cannot be used: the history of metrics begins anew", file)
        for part in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            part.unlink(missing_ok=True)
        try:
            return cls._opened(file)
        except sa.exc.DatabaseError as exc:
            raise OSError(f"{file} cannot be made: {exc}") from exc

    @classmethod
    def _opened(cls, file: Path) -> "MetricPoints":
        engine = sa.create_engine(f"sqlite:///{file}")
        sa.event.listen(engine, "connect", _configure)
        try:
            with engine.begin() as connection:
                found = connection.exec_driver_sql("PRAGMA user_version").scalar()
                if found not in {0, VERSION}:
                    raise sa.exc.DatabaseError("version", None, Exception(f"it is of version {found}"))
                _metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
        except sa.exc.DatabaseError:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add(self, points: Iterable[tuple[Owner, Point]]) -> None:
        """Add points, at every resolution, to what is known of the same stretch of time.

        Raises:
            TemporarilyUnavailable: they cannot be written now.
        """
        given = list(points)
        with transaction(self._engine) as connection:
            for resolution_s in RETENTION_S:
                moved = [(owner, downsample([point], resolution_s)[0]) for owner, point in given]
                known = _at(connection, resolution_s, {point.at_s for _, point in moved})
                for owner, point in moved:
                    key = (*owner, point.at_s)
                    known[key] = known[key].combined(point) if key in known else point
                rows = [_row(resolution_s, key, point) for key, point in known.items()]
                if rows:
                    connection.execute(sa.insert(_points).prefix_with("OR REPLACE"), rows)

    def points(self, endpoint_id: str, resolution_s: int, begin_s: int, end_s: int) -> dict[str, list[Point]]:
        """The points of an endpoint's entities that begin in a stretch of time, the earliest first.

        Raises:
            TemporarilyUnavailable: they cannot be read now.
        """
        query = (
            sa.select(_points.c.entity, _points.c.document)
            .where(_points.c.endpoint_id == endpoint_id, _points.c.resolution_s == resolution_s)
            .where(_points.c.at_s >= begin_s, _points.c.at_s < end_s)
            .order_by(_points.c.entity, _points.c.at_s)
        )
        found: dict[str, list[Point]] = {}
        with transaction(self._engine) as connection:
            for entity, document in connection.execute(query):
                found.setdefault(entity, []).append(msgspec.json.decode(document, type=Point))
        return found

    def drop(self, endpoint_ids: Collection[str], now_s: float) -> None:
        """Drop what is too old, and what is of no endpoint of these ids.

        Raises:
            TemporarilyUnavailable: it cannot be done now.
        """
        with transaction(self._engine) as connection:
            for resolution_s, kept_s in RETENTION_S.items():
                is_old = _points.c.at_s <= now_s - kept_s - resolution_s
                connection.execute(sa.delete(_points).where(_points.c.resolution_s == resolution_s, is_old))
            known = connection.scalars(sa.select(_points.c.endpoint_id).distinct()).all()
            for gone in set(known) - set(endpoint_ids):
                connection.execute(sa.delete(_points).where(_points.c.endpoint_id == gone))


def _at(connection: sa.Connection, resolution_s: int, moments: Collection[int]) -> dict[tuple[str, str, int], Point]:
    query = sa.select(_points).where(_points.c.resolution_s == resolution_s, _points.c.at_s.in_(moments))
    return {
        (row.endpoint_id, row.entity, row.at_s): msgspec.json.decode(row.document, type=Point)
        for row in connection.execute(query)
    }


def _row(resolution_s: int, key: tuple[str, str, int], point: Point) -> dict[str, object]:
    endpoint_id, entity, at_s = key
    return {
        "endpoint_id": endpoint_id,
        "entity": entity,
        "resolution_s": resolution_s,
        "at_s": at_s,
        "document": msgspec.json.encode(point),
    }


def _configure(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # the last minutes may go with the power
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.close()
