"""Jobs as Databricks' public Jobs API writes them (2.1 and 2.2): settings in and out, and what is refused by name."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from penstock.domain.errors import InvalidParameterValue, NotSupported
from penstock.domain.jobs.job import (
    UNTITLED,
    BatchWork,
    Job,
    JobSettings,
    NotebookWork,
    PythonWork,
    RunIf,
    Schedule,
    Task,
    check_settings,
)
from penstock.wire.body import In, describe

Json = dict[str, Any]

Id = Annotated[int, Field(strict=True, ge=0, le=(1 << 63) - 1)]

PAUSED, UNPAUSED = "PAUSED", "UNPAUSED"
_KEPT = frozenset(
    {
        *("description", "tags", "email_notifications", "webhook_notifications", "notification_settings", "health"),
        *("job_clusters", "environments", "edit_mode", "format", "performance_target", "budget_policy_id"),
        *("usage_policy_id", "deployment", "parent_path", "run_as"),
    }
)
"""Fields of a job that are given back and do nothing here."""
_KEPT_OF_TASKS = frozenset(
    {
        *("description", "existing_cluster_id", "job_cluster_key", "new_cluster", "libraries", "environment_key"),
        *("email_notifications", "webhook_notifications", "notification_settings", "health", "compute"),
        *("disable_auto_optimization",),
    }
)
_REFUSED = {
    "access_control_list": "jobs have no lists of access here: their creators and admins manage them",
    "continuous": "a job runs when it is asked to, or on a schedule",
    "git_source": "files are read from this machine, not from a repository",
    "trigger": "a job runs when it is asked to, or on a schedule",
    "triggers": "a job runs when it is asked to, or on a schedule",
    "environment_variables": "put them into parameters",
}
_SCHEDULES = "quartz_cron_expression and penstock_cron_expression"
_BY_KEY = {
    "tasks": "task_key",
    "job_clusters": "job_cluster_key",
    "parameters": "name",
    "environments": "environment_key",
}
"""Lists whose items an update replaces one by one, and what tells the items apart."""


class _Open(In):
    """Looks at fields beside its own, too: some are kept, some are refused by name."""

    model_config = ConfigDict(extra="allow", strict=True)


class TaskDependency(_Open):
    """A task that another depends on."""

    task_key: StrictStr


class SparkPythonTask(In):
    """A Python file."""

    python_file: StrictStr
    parameters: list[StrictStr] | None = None
    source: Literal["WORKSPACE", "GIT"] | None = None


class NotebookTask(In):
    """A notebook in source format."""

    notebook_path: StrictStr
    base_parameters: dict[StrictStr, StrictStr] | None = None
    source: Literal["WORKSPACE", "GIT"] | None = None


class PenstockBatchTask(In):
    """A batch run; ours, no other service knows it."""

    model: StrictStr
    source: StrictStr
    target: StrictStr
    mode: Literal["append", "overwrite", "merge"] = "append"
    keys: list[StrictStr] = Field(default_factory=list)
    engine: Literal["local", "spark"] = "local"
    on_error: Literal["table", "stop"] = "table"
    options: list[StrictStr] = Field(default_factory=list)


class TaskBody(_Open):
    """One task of a job."""

    task_key: StrictStr
    depends_on: list[TaskDependency] | None = None
    run_if: (
        Literal["ALL_SUCCESS", "AT_LEAST_ONE_SUCCESS", "NONE_FAILED", "ALL_DONE", "AT_LEAST_ONE_FAILED", "ALL_FAILED"]
        | None
    ) = None
    spark_python_task: SparkPythonTask | None = None
    notebook_task: NotebookTask | None = None
    penstock_batch_task: PenstockBatchTask | None = None
    max_retries: StrictInt | None = None
    min_retry_interval_millis: StrictInt | None = None
    retry_on_timeout: StrictBool | None = None
    timeout_seconds: StrictInt | None = None


class ParameterDefinition(In):
    """A parameter of a job."""

    name: StrictStr
    default: StrictStr


class CronSchedule(_Open):
    """When a job runs by itself."""

    timezone_id: StrictStr
    quartz_cron_expression: StrictStr | None = None
    penstock_cron_expression: StrictStr | None = None
    pause_status: Literal["PAUSED", "UNPAUSED"] | None = None


class QueueSettings(In):
    """Whether a run that is one too many waits."""

    enabled: StrictBool


class SettingsBody(_Open):
    """Settings of a job."""

    name: StrictStr | None = None
    tasks: list[TaskBody] | None = None
    parameters: list[ParameterDefinition] | None = None
    schedule: CronSchedule | None = None
    max_concurrent_runs: StrictInt | None = None
    queue: QueueSettings | None = None
    timeout_seconds: StrictInt | None = None


class CreateJob(SettingsBody):
    """Body of a creation."""


class ResetJob(In):
    """Body of a reset: all settings anew."""

    job_id: Id
    new_settings: SettingsBody


class UpdateJob(In):
    """Body of an update: some settings anew."""

    job_id: Id
    new_settings: SettingsBody | None = None
    fields_to_remove: list[StrictStr] | None = None


class JobId(In):
    """Body that names a job."""

    job_id: Id


def decode_settings(body: SettingsBody) -> JobSettings:
    """What a job is to be.

    Raises:
        InvalidParameterValue: naming the field.
        NotSupported: naming what the contract has and we do not.
    """
    parameters = {parameter.name: parameter.default for parameter in body.parameters or ()}
    if len(parameters) != len(body.parameters or ()):
        raise InvalidParameterValue("parameters: one name came twice.")
    if not body.tasks:
        raise InvalidParameterValue("tasks: got none; a job has at least one.")
    return check_settings(
        JobSettings(
            name=UNTITLED if body.name is None else body.name,
            tasks=tuple(_task(f"tasks[{index}]", task) for index, task in enumerate(body.tasks)),
            parameters=parameters,
            schedule=None if body.schedule is None else _schedule(body.schedule),
            max_concurrent_runs=1 if body.max_concurrent_runs is None else body.max_concurrent_runs,
            is_queued=body.queue is not None and body.queue.enabled,
            timeout_s=body.timeout_seconds or 0,
            extras=_extras("", body, _KEPT),
        )
    )


def updated(before: JobSettings, body: UpdateJob) -> JobSettings:
    """Settings after an update: named fields are replaced, lists whose items have keys item by item.

    Raises:
        InvalidParameterValue, NotSupported: as `decode_settings`.
    """
    document = encode_settings(before)
    changes = {} if body.new_settings is None else body.new_settings.model_dump(mode="json", exclude_unset=True)
    for name, value in changes.items():
        if name in _BY_KEY and isinstance(value, list):
            document[name] = _laid_over(document.get(name, []), value, _BY_KEY[name])
        elif value is None:
            document.pop(name, None)
        else:
            document[name] = value
    for index, path in enumerate(body.fields_to_remove or ()):
        _remove(document, path, f"fields_to_remove[{index}]")
    try:
        return decode_settings(SettingsBody.model_validate(document))
    except ValidationError as exc:
        raise InvalidParameterValue(describe(exc)) from exc


def _laid_over(before: Iterable[Json], changes: Iterable[Json], key: str) -> list[Json]:
    items = {item.get(key): item for item in before}
    return list((items | {item.get(key): item for item in changes}).values())


def _remove(document: Json, path: str, at: str) -> None:
    name, slash, key = path.partition("/")
    if not slash:
        document.pop(name, None)
    elif name in _BY_KEY:
        document[name] = [item for item in document.get(name, []) if item.get(_BY_KEY[name]) != key]
    else:
        raise InvalidParameterValue(f"{at}: got '{path[:100]}'; wanted a field, or an item as in 'tasks/name'.")


def _task(at: str, body: TaskBody) -> Task:
    extras = _extras(f"{at}.", body, _KEPT_OF_TASKS)
    work = [name for name in _WORK if getattr(body, name) is not None]
    if len(work) != 1:
        got = " and ".join(work) or "none"
        raise InvalidParameterValue(f"{at}: got {got}; wanted one of {', '.join(_WORK)}.")
    for index, other in enumerate(body.depends_on or ()):
        if (other.model_extra or {}).get("outcome") is not None:
            raise NotSupported(f"{at}.depends_on[{index}].outcome: there are no condition tasks here.")
    python, notebook, batch = body.spark_python_task, body.notebook_task, body.penstock_batch_task
    for name, source in (("spark_python_task", python), ("notebook_task", notebook)):
        if source is not None and source.source == "GIT":
            raise NotSupported(f"{at}.{name}.source: got GIT; {_REFUSED['git_source']}.")
    return Task(
        key=body.task_key,
        python=None if python is None else PythonWork(python.python_file, tuple(python.parameters or ())),
        notebook=None if notebook is None else NotebookWork(notebook.notebook_path, notebook.base_parameters or {}),
        batch=None
        if batch is None
        else BatchWork(
            batch.model,
            batch.source,
            batch.target,
            batch.mode,
            tuple(batch.keys),
            batch.engine,
            batch.on_error,
            tuple(batch.options),
        ),
        depends_on=tuple(dict.fromkeys(other.task_key for other in body.depends_on or ())),
        run_if=RunIf(body.run_if or RunIf.ALL_SUCCESS),
        max_retries=body.max_retries or 0,
        min_retry_interval_ms=body.min_retry_interval_millis or 0,
        retries_on_timeout=bool(body.retry_on_timeout),
        timeout_s=body.timeout_seconds or 0,
        extras=extras,
    )


_WORK = ("spark_python_task", "notebook_task", "penstock_batch_task")


def _schedule(body: CronSchedule) -> Schedule:
    if (body.model_extra or {}).get("sql_condition") is not None:
        raise NotSupported("schedule.sql_condition: a schedule has no condition here.")
    if (body.quartz_cron_expression is None) == (body.penstock_cron_expression is None):
        raise InvalidParameterValue(f"schedule: wanted one of {_SCHEDULES}.")
    return Schedule(
        body.timezone_id,
        body.quartz_cron_expression or "",
        body.penstock_cron_expression or "",
        is_paused=body.pause_status == PAUSED,
    )


def _extras(at: str, body: BaseModel, kept: frozenset[str]) -> Json:
    """Fields beside the known ones that are kept.

    Raises:
        NotSupported: one asks for what is not to be had.
    """
    extras = {name: value for name, value in (body.model_extra or {}).items() if value is not None}
    for name, value in extras.items():
        if name in _REFUSED and value:
            raise NotSupported(f"{at}{name}: not to be had here; {_REFUSED[name]}.")
        if name.endswith("_task"):
            raise NotSupported(f"{at}{name}: tasks of this type are not to be had here; wanted {', '.join(_WORK)}.")
        if name == "disabled" and value:
            raise NotSupported(f"{at}disabled: a task cannot be switched off here; leave it out.")
    return {name: value for name, value in extras.items() if name in kept}


def encode_settings(settings: JobSettings, *, has_tasks: bool = True) -> Json:
    """`JobSettings`."""
    found: Json = {
        **settings.extras,
        "name": settings.name,
        "format": "MULTI_TASK",
        "max_concurrent_runs": settings.max_concurrent_runs,
        "timeout_seconds": settings.timeout_s,
        "queue": {"enabled": settings.is_queued},
    }
    if settings.parameters:
        found["parameters"] = encode_parameters(settings.parameters)
    if settings.schedule is not None:
        found["schedule"] = encode_schedule(settings.schedule)
    if has_tasks:
        found["tasks"] = [encode_task(task) for task in settings.tasks]
    return found


def encode_parameters(parameters: Mapping[str, str]) -> list[Json]:
    """`JobParameterDefinition`s."""
    return [{"name": name, "default": default} for name, default in parameters.items()]


def encode_schedule(schedule: Schedule) -> Json:
    """`CronSchedule`."""
    kind = "quartz_cron_expression" if schedule.quartz else "penstock_cron_expression"
    return {
        kind: schedule.quartz or schedule.cron,
        "timezone_id": schedule.timezone,
        "pause_status": PAUSED if schedule.is_paused else UNPAUSED,
    }


def encode_task(task: Task) -> Json:
    """`Task`."""
    found: Json = {**task.extras, "task_key": task.key, "run_if": task.run_if.value, **encode_work(task)}
    if task.depends_on:
        found["depends_on"] = [{"task_key": key} for key in task.depends_on]
    if task.max_retries:
        found["max_retries"] = task.max_retries
    if task.min_retry_interval_ms:
        found["min_retry_interval_millis"] = task.min_retry_interval_ms
    if task.retries_on_timeout:
        found["retry_on_timeout"] = True
    found["timeout_seconds"] = task.timeout_s
    return found


def encode_work(task: Task) -> Json:
    """The field of a task that says what it does."""
    if task.python is not None:
        python: Json = {"python_file": task.python.file, "parameters": list(task.python.parameters)}
        return {"spark_python_task": python}
    if task.notebook is not None:
        notebook: Json = {"notebook_path": task.notebook.path, "source": "WORKSPACE"}
        if task.notebook.parameters:
            notebook["base_parameters"] = dict(task.notebook.parameters)
        return {"notebook_task": notebook}
    batch = task.batch
    if batch is None:
        return {}
    return {
        "penstock_batch_task": {
            "model": batch.model,
            "source": batch.source,
            "target": batch.target,
            "mode": batch.mode,
            "keys": list(batch.keys),
            "engine": batch.engine,
            "on_error": batch.on_error,
            "options": list(batch.options),
        }
    }


def encode_job(job: Job, *, has_tasks: bool = True) -> Json:
    """`Job` or `BaseJob`; when the schedule wants the next run is ours."""
    found: Json = {
        "job_id": job.id,
        "creator_user_name": job.creator,
        "run_as_user_name": job.creator,
        "created_time": job.created_at_ms,
        "settings": encode_settings(job.settings, has_tasks=has_tasks),
    }
    if job.next_due_ms is not None:
        found["penstock_next_run_time"] = job.next_due_ms
    return found
