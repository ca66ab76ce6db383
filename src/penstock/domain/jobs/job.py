"""What a job is: tasks that depend on each other, parameters, a schedule, and what happens when runs overlap."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.jobs.references import check_references

MAX_TASKS = 100
MAX_PARAMETERS = 100
MAX_CONCURRENT_RUNS = 1000
MAX_RETRIES = 1000
UNTITLED = "Untitled"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_MAX_TEXT = 65_536
_MAX_NAME = 4096
_MAX_SECONDS = 365 * 86_400
_MODEL_SCHEMES = ("models:/", "runs:/", "file:", "mlflow-artifacts:/", "/")


class RunIf(StrEnum):
    """What must have become of the tasks that a task depends on. The words are the contract's."""

    ALL_SUCCESS = "ALL_SUCCESS"
    AT_LEAST_ONE_SUCCESS = "AT_LEAST_ONE_SUCCESS"
    NONE_FAILED = "NONE_FAILED"
    ALL_DONE = "ALL_DONE"
    AT_LEAST_ONE_FAILED = "AT_LEAST_ONE_FAILED"
    ALL_FAILED = "ALL_FAILED"


@dataclass(frozen=True, slots=True)
class PythonWork:
    """Run a Python file."""

    file: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotebookWork:
    """Run a notebook in Databricks' source format."""

    path: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchWork:
    """Score a table or files, as `penstock batch run` does."""

    model: str
    source: str
    target: str
    mode: str = "append"
    keys: tuple[str, ...] = ()
    engine: str = "local"
    on_error: str = "table"
    options: tuple[str, ...] = ()
    """More of its arguments, as a command line would have them."""


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a job; it has exactly one kind of work."""

    key: str
    python: PythonWork | None = None
    notebook: NotebookWork | None = None
    batch: BatchWork | None = None
    depends_on: tuple[str, ...] = ()
    run_if: RunIf = RunIf.ALL_SUCCESS
    max_retries: int = 0
    """How often it is tried again; -1 without end."""
    min_retry_interval_ms: int = 0
    """From the start of an attempt that failed to the next one, at least."""
    retries_on_timeout: bool = False
    timeout_s: int = 0
    """Of one attempt; 0 for none."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the contract that are kept and given back, and do nothing here."""

    @property
    def path(self) -> str | None:
        """The file that it runs, as it was named."""
        if self.python is not None:
            return self.python.file
        return None if self.notebook is None else self.notebook.path


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job runs by itself: a Quartz expression or one of cron, in a time zone."""

    timezone: str
    quartz: str = ""
    cron: str = ""
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What a job is told to be."""

    name: str = UNTITLED
    tasks: tuple[Task, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Names and defaults."""
    schedule: Schedule | None = None
    max_concurrent_runs: int = 1
    is_queued: bool = False
    """Whether a run that is one too many waits for its turn; else it is skipped."""
    timeout_s: int = 0
    """Of a whole run; 0 for none."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the contract that are kept and given back, and do nothing here."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job that is stored."""

    id: int
    settings: JobSettings
    creator: str
    """Whose it is: its runs may do what this principal may."""
    created_at_ms: int
    next_due_ms: int | None = None
    """When its schedule next wants a run; None without one, or while it is paused."""
    runs: int = 0
    """How many there have been."""


def check_settings(settings: JobSettings) -> JobSettings:
    """Settings that can be, as far as that can be told without a clock or a disk.

    Raises:
        InvalidParameterValue: naming the field.
    """
    if not settings.name.strip() or len(settings.name) > _MAX_NAME:
        raise InvalidParameterValue(f"name: wanted 1 to {_MAX_NAME} characters.")
    _check_range("max_concurrent_runs", settings.max_concurrent_runs, 0, MAX_CONCURRENT_RUNS)
    _check_range("timeout_seconds", settings.timeout_s, 0, _MAX_SECONDS)
    if len(settings.parameters) > MAX_PARAMETERS:
        raise InvalidParameterValue(f"parameters: got {len(settings.parameters)}; wanted {MAX_PARAMETERS} at most.")
    for name, default in settings.parameters.items():
        check_parameter(f"parameters.{name}", name, default)
    check_tasks(settings.tasks, settings.parameters)
    return settings


def check_tasks(tasks: tuple[Task, ...], parameters: Iterable[str]) -> None:
    """Check tasks, that they depend only on each other, and not in a circle.

    Raises:
        InvalidParameterValue: naming the field.
    """
    if len(tasks) > MAX_TASKS:
        raise InvalidParameterValue(f"tasks: got {len(tasks)}; wanted {MAX_TASKS} at most.")
    known = {task.key for task in tasks}
    seen: set[str] = set()
    for index, task in enumerate(tasks):
        at = f"tasks[{index}]"
        if not _KEY.fullmatch(task.key):
            raise InvalidParameterValue(
                f"{at}.task_key: got '{task.key[:100]}'; wanted 1 to 100 letters, digits, '_' and '-'."
            )
        if task.key in seen:
            raise InvalidParameterValue(f"{at}.task_key: a second task is named '{task.key}'.")
        seen.add(task.key)
        for other in task.depends_on:
            if other not in known:
                raise InvalidParameterValue(f"{at}.depends_on: there is no task '{other[:100]}'.")
        _check_numbers(at, task)
        _check_work(at, task)
        check_references(at, _texts(task), frozenset(parameters), frozenset(known))
    _check_no_circle(tasks)


def check_parameter(at: str, name: str, value: str) -> None:
    """Check a parameter of a job.

    Raises:
        InvalidParameterValue: naming it.
    """
    if not _PARAMETER.fullmatch(name):
        raise InvalidParameterValue(f"{at}: wanted a name of letters, digits, '_', '-' and '.', 255 at most.")
    if len(value) > _MAX_TEXT:
        raise InvalidParameterValue(f"{at}: got {len(value)} characters; wanted {_MAX_TEXT} at most.")


def _check_numbers(at: str, task: Task) -> None:
    _check_range(f"{at}.max_retries", task.max_retries, -1, MAX_RETRIES)
    _check_range(f"{at}.min_retry_interval_millis", task.min_retry_interval_ms, 0, _MAX_SECONDS * 1000)
    _check_range(f"{at}.timeout_seconds", task.timeout_s, 0, _MAX_SECONDS)


def _check_work(at: str, task: Task) -> None:
    for text in _texts(task):
        if len(text) > _MAX_TEXT or "\0" in text:
            raise InvalidParameterValue(f"{at}: a text in it is over {_MAX_TEXT} characters or holds a zero byte.")
    batch = task.batch
    if batch is None:
        return
    at += ".penstock_batch_task"
    if not batch.model.startswith((*_MODEL_SCHEMES, "{{")):
        raise InvalidParameterValue(f"{at}.model: got '{batch.model[:100]}'; wanted a URI such as models:/m@champion.")
    for name, text in (("source", batch.source), ("target", batch.target)):
        if not text.strip():
            raise InvalidParameterValue(f"{at}.{name}: got nothing; wanted a path or catalog.schema.table.")
    if (batch.mode == "merge") != bool(batch.keys):
        raise InvalidParameterValue(f"{at}.keys: wanted columns with mode merge, and with no other.")


def _texts(task: Task) -> tuple[str, ...]:
    """All that references may stand in."""
    if task.python is not None:
        return (task.python.file, *task.python.parameters)
    if task.notebook is not None:
        return (task.notebook.path, *task.notebook.parameters, *task.notebook.parameters.values())
    batch = task.batch
    return () if batch is None else (batch.model, batch.source, batch.target, *batch.keys, *batch.options)


def _check_no_circle(tasks: tuple[Task, ...]) -> None:
    waiting = {task.key: set(task.depends_on) for task in tasks}
    while waiting:
        free = {key for key, others in waiting.items() if not others & waiting.keys()}
        if not free:
            raise InvalidParameterValue(f"tasks: {', '.join(sorted(waiting)[:10])} depend on each other in a circle.")
        waiting = {key: others for key, others in waiting.items() if key not in free}


def _check_range(at: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidParameterValue(f"{at}: got {value}; wanted a whole number from {low} to {high}.")
