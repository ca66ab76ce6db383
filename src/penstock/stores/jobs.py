"""Jobs at rest: settings as one JSON document each, beside the columns that are searched."""

from typing import Any

import msgspec
import sqlalchemy as sa

from penstock.domain.errors import ResourceExhausted
from penstock.domain.jobs.job import Job, JobSettings
from penstock.stores.sql import metadata, transaction

MAX_JOBS = 1000

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("creator", sa.String, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("next_due_ms", sa.BigInteger, index=True),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)


class JobStore:
    """Jobs, one call a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def insert(self, settings: JobSettings, creator: str, now_ms: int, next_due_ms: int | None) -> Job:
        """Store a new job.

        Raises:
            ResourceExhausted: there are as many as there may be.
        """
        values = {"creator": creator, "created_at_ms": now_ms, "runs": 0, **_columns(settings, next_due_ms)}
        with transaction(self._engine) as connection:
            if connection.scalar(sa.select(sa.func.count()).select_from(jobs)) >= MAX_JOBS:  # type: ignore[operator]
                raise ResourceExhausted(f"There are {MAX_JOBS} jobs, as many as there may be; delete one.")
            key = connection.execute(sa.insert(jobs).values(values)).inserted_primary_key
        return Job(int(key[0]) if key is not None else 0, settings, creator, now_ms, next_due_ms)

    def job(self, job_id: int) -> Job | None:
        """The job of an id."""
        with transaction(self._engine) as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).first()
        return None if row is None else _job(row)

    def jobs(
        self,
        owner: str | None = None,
        name: str | None = None,
        before: int | None = None,
        offset: int = 0,
        limit: int | None = None,
    ) -> list[Job]:
        """Jobs, the newest first.

        Args:
            owner: only those of this principal.
            name: only those of this name, in capitals or not.
            before: only those with smaller ids.
            offset: how many to leave out.
            limit: how many at most.
        """
        query = sa.select(jobs).order_by(jobs.c.id.desc()).offset(offset).limit(limit)
        if owner is not None:
            query = query.where(jobs.c.creator == owner)
        if name is not None:
            query = query.where(sa.func.lower(jobs.c.name) == name.lower())
        if before is not None:
            query = query.where(jobs.c.id < before)
        with transaction(self._engine) as connection:
            return [_job(row) for row in connection.execute(query)]

    def due(self, now_ms: int) -> list[Job]:
        """Jobs whose schedules want a run by now."""
        query = sa.select(jobs).where(jobs.c.next_due_ms <= now_ms).order_by(jobs.c.next_due_ms, jobs.c.id)
        with transaction(self._engine) as connection:
            return [_job(row) for row in connection.execute(query)]

    def next_due_ms(self) -> int | None:
        """When the next schedule wants a run."""
        with transaction(self._engine) as connection:
            found: int | None = connection.scalar(sa.select(sa.func.min(jobs.c.next_due_ms)))
        return found

    def save(self, job_id: int, settings: JobSettings, next_due_ms: int | None) -> None:
        """Give a job other settings; nothing happens if it was deleted."""
        with transaction(self._engine) as connection:
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(_columns(settings, next_due_ms)))

    def delete(self, job_id: int) -> None:
        """Forget a job; its runs stay until they are old."""
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(jobs).where(jobs.c.id == job_id))


def count_run(connection: sa.Connection, job_id: int) -> int:
    """Count one more run of a job; its number."""
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(runs=jobs.c.runs + 1))
    return connection.scalar(sa.select(jobs.c.runs).where(jobs.c.id == job_id)) or 1


def _columns(settings: JobSettings, next_due_ms: int | None) -> dict[str, Any]:
    return {"name": settings.name, "next_due_ms": next_due_ms, "document": msgspec.json.encode(settings).decode()}


def _job(row: sa.Row[Any]) -> Job:
    settings = msgspec.json.decode(row.document, type=JobSettings)
    return Job(row.id, settings, row.creator, row.created_at_ms, row.next_due_ms, row.runs)
