"""Dynamic values: `{{job.parameters.day}}` and the like in what a task is given, as Databricks documents them.

A reference that begins with a word of ours and goes on with another is refused when the job is stored. Anything else in
double braces is text.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from penstock.domain.errors import InvalidParameterValue

_REFERENCE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_NAMESPACES = ("job.", "task.", "tasks.")
_PARAMETERS = "job.parameters."
_OF_A_TASK = re.compile(r"tasks\.(`?)([A-Za-z0-9_-]+)\1\.(result_state|run_id|execution_count)")
_TIMES: Mapping[str, Callable[[datetime], str]] = {
    "iso_date": lambda at: at.strftime("%Y-%m-%d"),
    "iso_datetime": lambda at: at.strftime("%Y-%m-%dT%H:%M:%S"),
    "year": lambda at: str(at.year),
    "month": lambda at: str(at.month),
    "day": lambda at: str(at.day),
    "hour": lambda at: str(at.hour),
    "minute": lambda at: str(at.minute),
    "second": lambda at: str(at.second),
    "is_weekday": lambda at: str(at.isoweekday() <= _FRIDAY).lower(),
    "iso_weekday": lambda at: str(at.isoweekday()),
    "timestamp_ms": lambda at: str(round(at.timestamp() * 1000)),
}
_FRIDAY = 5
_NAMES = frozenset(
    (
        *("job.id", "job.name", "job.run_id", "job.repair_count", "job.trigger.type"),
        *("task.name", "task.run_id", "task.execution_count"),
        *(f"job.{moment}.{part}" for moment in ("start_time", "trigger.time") for part in _TIMES),
    )
)
_OLD_NAMES = {
    "job_id": "job.id",
    "run_id": "task.run_id",
    "parent_run_id": "job.run_id",
    "task_key": "task.name",
    "start_date": "job.start_time.iso_date",
    "start_time": "job.start_time.timestamp_ms",
    "task_retry_count": "task.execution_count",
}
"""What references were called before, and still are in many jobs."""


@dataclass(frozen=True, slots=True)
class Context:
    """What references of one attempt stand for."""

    job_id: int
    job_name: str
    run_id: int
    trigger: str
    started_at_ms: int
    due_at_ms: int
    task_key: str
    task_run_id: int
    execution_count: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of tasks that have ended: `result_state`, `run_id` and `execution_count`."""


def check_references(at: str, texts: Collection[str], parameters: Collection[str], tasks: Collection[str]) -> None:
    """Check that the references in texts stand for something.

    Raises:
        InvalidParameterValue: naming the reference and the field.
    """
    for text in texts:
        for match in _REFERENCE.finditer(text):
            name = match[1]
            if not name.startswith(_NAMESPACES) or name in _NAMES:
                continue
            of_task = _OF_A_TASK.fullmatch(name)
            if of_task is not None and of_task[2] in tasks:
                continue
            if name.startswith(_PARAMETERS) and _parameter(name) in parameters:
                continue
            wanted = "a parameter of the job" if name.startswith(_PARAMETERS) else "one that the documentation names"
            raise InvalidParameterValue(f"{at}: got the reference '{{{{{name}}}}}'; wanted {wanted}.")


def resolved(text: str, context: Context) -> str:
    """A text with its references replaced; what stands for nothing stays as it is."""

    def value(match: re.Match[str]) -> str:
        found = _value(_OLD_NAMES.get(match[1], match[1]), context)
        return match[0] if found is None else found

    return _REFERENCE.sub(value, text)


def _value(name: str, context: Context) -> str | None:
    of_task = _OF_A_TASK.fullmatch(name)
    if of_task is not None:
        return context.tasks.get(of_task[2], {}).get(of_task[3])
    if name.startswith(_PARAMETERS):
        return context.parameters.get(_parameter(name))
    moment, _, part = name.removeprefix("job.").rpartition(".")
    if moment in {"start_time", "trigger.time"} and part in _TIMES:
        at_ms = context.started_at_ms if moment == "start_time" else context.due_at_ms
        return _TIMES[part](datetime.fromtimestamp(at_ms / 1000, UTC))
    return {
        "job.id": str(context.job_id),
        "job.name": context.job_name,
        "job.run_id": str(context.run_id),
        "job.repair_count": "0",
        "job.trigger.type": context.trigger.lower(),
        "task.name": context.task_key,
        "task.run_id": str(context.task_run_id),
        "task.execution_count": str(context.execution_count),
    }.get(name)


def _parameter(name: str) -> str:
    return name.removeprefix(_PARAMETERS).strip("`")
