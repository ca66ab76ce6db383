"""A run of a job: its tasks as they were when it began, the attempts at each, and how far it has come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.domain.jobs.job import Task

MAX_KEPT_ATTEMPTS = 50
"""Of one task; the oldest are forgotten."""
MAX_MESSAGE = 2000


class Stage(StrEnum):
    """How far a run or an attempt has come."""

    QUEUED = "QUEUED"
    """It waits for its turn: others of the job run."""
    BLOCKED = "BLOCKED"
    """It waits for the tasks that it depends on."""
    PENDING = "PENDING"
    """It is about to be started."""
    RUNNING = "RUNNING"
    ENDING = "ENDING"
    """It was told to end."""
    ENDED = "ENDED"


class Result(StrEnum):
    """What became of a run or an attempt that has ended."""

    SUCCESS = "SUCCESS"
    SUCCESS_WITH_FAILURES = "SUCCESS_WITH_FAILURES"
    """It came to its end, and something in it failed: rows, or tasks that others made up for."""
    FAILED = "FAILED"
    TIMEDOUT = "TIMEDOUT"
    CANCELED = "CANCELED"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"
    UPSTREAM_CANCELED = "UPSTREAM_CANCELED"
    EXCLUDED = "EXCLUDED"
    """What it depends on did not come as it was to come."""
    TOO_MANY = "MAXIMUM_CONCURRENT_RUNS_REACHED"
    MISSED = "MISSED"
    """Nobody was there when it was due."""
    LOST = "LOST"
    """Its process went with the stack, and nobody knows how far it had come."""

    @property
    def is_good(self) -> bool:
        """Whether what depends on it may go on."""
        return self in {Result.SUCCESS, Result.SUCCESS_WITH_FAILURES}

    @property
    def is_skipped(self) -> bool:
        """Whether nothing was ever started."""
        return self in _SKIPPED


_SKIPPED = frozenset(
    {Result.UPSTREAM_FAILED, Result.UPSTREAM_CANCELED, Result.EXCLUDED, Result.TOO_MANY, Result.MISSED}
)


class Trigger(StrEnum):
    """What made a run. The words are the contract's."""

    ONE_TIME = "ONE_TIME"
    PERIODIC = "PERIODIC"


@dataclass(frozen=True, slots=True)
class Rows:
    """What a batch task has done with rows."""

    taken: int
    written: int
    failed: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one task: one process, or none if it never came to that."""

    id: int
    task_key: str
    number: int = 0
    stage: Stage = Stage.BLOCKED
    result: Result | None = None
    message: str = ""
    created_at_ms: int = 0
    not_before_ms: int = 0
    """When it may be started."""
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    is_timed_out: bool = False
    exit_code: int | None = None
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What whoever asked for a run gave its tasks in place of what they have."""

    notebook: Mapping[str, str] = field(default_factory=dict)
    python: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    id: int
    name: str
    creator: str
    owner: str
    """The principal whose rights its tasks have."""
    tasks: tuple[Task, ...]
    created_at_ms: int
    job_id: int | None = None
    """None for a run that belongs to no job."""
    number_in_job: int = 1
    trigger: Trigger = Trigger.ONE_TIME
    due_at_ms: int | None = None
    """When the schedule wanted it."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Of the job, with what was given for this run."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = Overrides()
    timeout_s: int = 0
    stage: Stage = Stage.PENDING
    result: Result | None = None
    message: str = ""
    started_at_ms: int | None = None
    """When its turn came."""
    ended_at_ms: int | None = None
    is_cancelled: bool = False
    is_timed_out: bool = False
    attempts: tuple[Attempt, ...] = ()

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.stage is not Stage.ENDED

    @property
    def latest(self) -> dict[str, Attempt]:
        """The newest attempt at each task that has one."""
        return {attempt.task_key: attempt for attempt in self.attempts}

    def attempt(self, attempt_id: int) -> Attempt | None:
        """The attempt of an id."""
        return next((attempt for attempt in self.attempts if attempt.id == attempt_id), None)

    def task(self, key: str) -> Task:
        """The task of a key, which it has."""
        return next(task for task in self.tasks if task.key == key)
