"""Runs of jobs at rest. A run and the attempts at its tasks have ids of one sequence, which are never used again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import sqlalchemy as sa

from penstock.domain.jobs.planning import with_attempt
from penstock.domain.jobs.run import Attempt, Run
from penstock.stores.jobs import count_run, jobs
from penstock.stores.sql import metadata, transaction

MAX_RUNS_OF_A_JOB = 200
MAX_RUNS_OF_NO_JOB = 1000
MAX_AGE_MS = 60 * 86_400_000
"""How long runs that have ended are kept, and how many of them; the oldest go first."""
MAX_TOKENS = 10_000

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("job_id", sa.Integer, index=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False, index=True),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
job_run_ids = sa.Table(
    "job_run_ids",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.Integer, nullable=False, index=True),
    sqlite_autoincrement=True,
)
job_run_tokens = sa.Table(
    "job_run_tokens",
    metadata,
    sa.Column("owner", sa.String, primary_key=True),
    sa.Column("token", sa.String, primary_key=True),
    sa.Column("run_id", sa.Integer, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs are asked for."""

    owner: str | None = None
    job_id: int | None = None
    is_active: bool | None = None
    is_of_job: bool | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    before: int | None = None
    """Only those with smaller ids."""
    offset: int = 0


class RunStore:
    """Runs, one call a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def insert(self, run: Run, token: str | None = None) -> Run:
        """Store a new run, with an attempt at each of its tasks; returns it with the ids that these have got.

        Args:
            run: without ids.
            token: by which it is not asked for twice.
        """
        with transaction(self._engine) as connection:
            run = _insert(connection, run)
            if token is not None:
                values = {"owner": run.creator, "token": token, "run_id": run.id, "created_at_ms": run.created_at_ms}
                connection.execute(sa.insert(job_run_tokens).values(values))
        return run

    def insert_due(self, job_id: int, runs: Iterable[Run], next_due_ms: int | None) -> None:
        """Store what a schedule has wanted, and when it next wants a run: both or neither."""
        with transaction(self._engine) as connection:
            for run in runs:
                _insert(connection, run)
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(next_due_ms=next_due_ms))

    def of_token(self, owner: str, token: str) -> int | None:
        """The id of the run that a principal asked for with a token, whether that run is still there or not."""
        query = sa.select(job_run_tokens.c.run_id).where(
            job_run_tokens.c.owner == owner, job_run_tokens.c.token == token
        )
        with transaction(self._engine) as connection:
            found: int | None = connection.scalar(query)
        return found

    def run(self, any_id: int) -> Run | None:
        """The run of an id, or that to which the attempt of that id belongs."""
        query = (
            sa.select(job_runs.c.document)
            .join(job_run_ids, job_run_ids.c.run_id == job_runs.c.id)
            .where(job_run_ids.c.id == any_id)
        )
        with transaction(self._engine) as connection:
            document = connection.scalar(query)
        return None if document is None else msgspec.json.decode(document, type=Run)

    def active(self) -> list[Run]:
        """All runs that have not ended, the oldest first."""
        query = sa.select(job_runs.c.document).where(job_runs.c.is_active).order_by(job_runs.c.id)
        with transaction(self._engine) as connection:
            return [msgspec.json.decode(document, type=Run) for document in connection.scalars(query)]

    def runs(self, wanted: Wanted, limit: int | None = None) -> list[Run]:
        """Runs, the newest first."""
        query = sa.select(job_runs.c.document).order_by(job_runs.c.id.desc()).offset(wanted.offset).limit(limit)
        for condition in _conditions(wanted):
            query = query.where(condition)
        with transaction(self._engine) as connection:
            return [msgspec.json.decode(document, type=Run) for document in connection.scalars(query)]

    def save(self, run: Run, more: Iterable[Attempt] = ()) -> Run:
        """Replace what is stored of a run; returns it with the attempts that were to be added, and their ids."""
        with transaction(self._engine) as connection:
            for attempt in more:
                run = with_attempt(run, replace(attempt, id=_new_id(connection, run.id)))
            connection.execute(sa.update(job_runs).where(job_runs.c.id == run.id).values(_columns(run)))
        return run

    def delete(self, run_ids: Iterable[int]) -> None:
        """Forget runs."""
        ids = list(run_ids)
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(job_runs).where(job_runs.c.id.in_(ids)))
            connection.execute(sa.delete(job_run_ids).where(job_run_ids.c.run_id.in_(ids)))

    def prune(self, job_id: int | None, now_ms: int) -> list[int]:
        """Forget those of a job's runs that are too old or too many, or of those of no job; their ids."""
        most = MAX_RUNS_OF_NO_JOB if job_id is None else MAX_RUNS_OF_A_JOB
        of_job = job_runs.c.job_id.is_(None) if job_id is None else job_runs.c.job_id == job_id
        over = sa.select(job_runs.c.id).where(of_job, ~job_runs.c.is_active)
        old_tokens = sa.select(job_run_tokens.c.run_id).order_by(job_run_tokens.c.run_id.desc()).offset(MAX_TOKENS)
        with transaction(self._engine) as connection:
            surplus = connection.scalars(over.order_by(job_runs.c.id.desc()).offset(most)).all()
            old = connection.scalars(over.where(job_runs.c.created_at_ms < now_ms - MAX_AGE_MS)).all()
            connection.execute(sa.delete(job_run_tokens).where(job_run_tokens.c.run_id.in_(old_tokens)))
        doomed = sorted({*surplus, *old})
        self.delete(doomed)
        return doomed

    def known(self) -> set[int]:
        """The ids of all runs that are stored."""
        with transaction(self._engine) as connection:
            return set(connection.scalars(sa.select(job_runs.c.id)))


def _insert(connection: sa.Connection, run: Run) -> Run:
    """Store a run; one that was never to begin gets no attempts."""
    run_id = _new_id(connection, None)
    tasks = run.tasks if run.is_active else ()
    attempts = tuple(Attempt(_new_id(connection, run_id), task.key, created_at_ms=run.created_at_ms) for task in tasks)
    number = count_run(connection, run.job_id) if run.job_id is not None else 1
    run = replace(run, id=run_id, attempts=attempts, number_in_job=number)
    connection.execute(sa.insert(job_runs).values(id=run.id, job_id=run.job_id, **_columns(run)))
    return run


def _new_id(connection: sa.Connection, run_id: int | None) -> int:
    """An id that nothing has had, for a run or for an attempt of this run."""
    key = connection.execute(sa.insert(job_run_ids).values(run_id=run_id or 0)).inserted_primary_key
    new: int = key[0] if key is not None else 0
    if run_id is None:
        connection.execute(sa.update(job_run_ids).where(job_run_ids.c.id == new).values(run_id=new))
    return new


def _columns(run: Run) -> dict[str, Any]:
    return {
        "owner": run.owner,
        "is_active": run.is_active,
        "created_at_ms": run.created_at_ms,
        "document": msgspec.json.encode(run).decode(),
    }


def _conditions(wanted: Wanted) -> Iterable[sa.ColumnElement[bool]]:
    columns = job_runs.c
    if wanted.owner is not None:
        yield columns.owner == wanted.owner
    if wanted.job_id is not None:
        yield columns.job_id == wanted.job_id
    if wanted.is_active is not None:
        yield columns.is_active == wanted.is_active
    if wanted.is_of_job is not None:
        yield columns.job_id.is_not(None) if wanted.is_of_job else columns.job_id.is_(None)
    if wanted.from_ms is not None:
        yield columns.created_at_ms >= wanted.from_ms
    if wanted.to_ms is not None:
        yield columns.created_at_ms <= wanted.to_ms
    if wanted.before is not None:
        yield columns.id < wanted.before
