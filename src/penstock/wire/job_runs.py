"""Runs of jobs as Databricks' public Jobs API writes them: states in both of its forms, durations, output."""

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, StrictBool, StrictInt, StrictStr

from penstock.domain.errors import InvalidParameterValue, NotSupported
from penstock.domain.jobs.job import Task
from penstock.domain.jobs.output import Output
from penstock.domain.jobs.run import Attempt, Overrides, Result, Run, Stage
from penstock.wire.body import In
from penstock.wire.jobs import Id, Json, QueueSettings, SettingsBody, TaskBody, decode_settings, encode_task

MAX_TOKEN = 64
_LIFE_CYCLE = {
    Stage.QUEUED: "QUEUED",
    Stage.BLOCKED: "BLOCKED",
    Stage.PENDING: "PENDING",
    Stage.RUNNING: "RUNNING",
    Stage.ENDING: "TERMINATING",
}
_CODES = {
    Result.SUCCESS: "SUCCESS",
    Result.SUCCESS_WITH_FAILURES: "SUCCESS_WITH_FAILURES",
    Result.FAILED: "RUN_EXECUTION_ERROR",
    Result.TIMEDOUT: "CANCELED",
    Result.CANCELED: "USER_CANCELED",
    Result.UPSTREAM_FAILED: "SKIPPED",
    Result.UPSTREAM_CANCELED: "SKIPPED",
    Result.EXCLUDED: "SKIPPED",
    Result.TOO_MANY: "MAX_CONCURRENT_RUNS_EXCEEDED",
    Result.MISSED: "SKIPPED",
    Result.LOST: "INTERNAL_ERROR",
}
_OTHER_PARAMETERS = frozenset(
    {
        *("jar_params", "spark_submit_params", "python_named_params", "sql_params", "dbt_commands", "pipeline_params"),
        *("only",),
    }
)
_NOT_SUBMITTED = frozenset({"access_control_list", "git_source", "environment_variables"})
_QUEUED_BECAUSE = {
    "code": "MAX_CONCURRENT_RUNS_REACHED",
    "message": "As many runs of the job as may run at a time do so already.",
}


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that belongs to no job, as it was asked for."""

    tasks: tuple[Task, ...]
    name: str
    timeout_s: int


class RunNow(In):
    """Body that has a job run."""

    model_config = ConfigDict(extra="allow", strict=True)

    job_id: Id
    job_parameters: dict[StrictStr, StrictStr] | None = None
    notebook_params: dict[StrictStr, StrictStr] | None = None
    python_params: list[StrictStr] | None = None
    idempotency_token: StrictStr | None = None
    queue: QueueSettings | None = None


class SubmitRun(In):
    """Body of a run that belongs to no job."""

    model_config = ConfigDict(extra="allow", strict=True)

    tasks: list[TaskBody] | None = None
    run_name: StrictStr | None = None
    timeout_seconds: StrictInt | None = None
    idempotency_token: StrictStr | None = None


class RunId(In):
    """Body that names a run."""

    run_id: Id


class CancelAll(In):
    """Body that has all runs of a job end."""

    job_id: Id | None = None
    all_queued_runs: StrictBool | None = None


def overrides_of(body: RunNow) -> Overrides:
    """What whoever asks for a run gives its tasks.

    Raises:
        NotSupported: parameters of tasks that there are none of here.
        InvalidParameterValue: two ways to give parameters that exclude each other.
    """
    _refuse(body, _OTHER_PARAMETERS)
    if body.job_parameters and (body.notebook_params or body.python_params):
        raise InvalidParameterValue("job_parameters: wanted either these or notebook_params and python_params.")
    python = None if body.python_params is None else tuple(body.python_params)
    return Overrides(body.notebook_params or {}, python)


def decode_submit(body: SubmitRun) -> Submitted:
    """A run that belongs to no job.

    Raises:
        InvalidParameterValue: naming the field.
        NotSupported: naming what the contract has and we do not.
    """
    _refuse(body, _NOT_SUBMITTED)
    settings = decode_settings(SettingsBody(name=body.run_name, tasks=body.tasks, timeout_seconds=body.timeout_seconds))
    return Submitted(settings.tasks, settings.name, settings.timeout_s)


def token_of(body: RunNow | SubmitRun) -> str | None:
    """By what a run is not asked for twice.

    Raises:
        InvalidParameterValue: it is too long.
    """
    token = body.idempotency_token or None
    if token is not None and len(token) > MAX_TOKEN:
        raise InvalidParameterValue(f"idempotency_token: got {len(token)} characters; wanted {MAX_TOKEN} at most.")
    return token


def _refuse(body: RunNow | SubmitRun, refused: frozenset[str]) -> None:
    for name, value in (body.model_extra or {}).items():
        if value and (name in refused or name.endswith("_task")):
            raise NotSupported(f"{name}: not to be had here.")


def encode_run(run: Run, *, has_tasks: bool = True) -> Json:
    """`Run` or `BaseRun`."""
    found: Json = {
        "run_id": run.id,
        "job_run_id": run.id,
        "original_attempt_run_id": run.id,
        "number_in_job": run.number_in_job,
        "run_name": run.name,
        "run_type": "JOB_RUN" if run.job_id is not None else "SUBMIT_RUN",
        "run_page_url": f"/api/2.2/jobs/runs/get?run_id={run.id}",
        "creator_user_name": run.creator,
        "trigger": run.trigger.value,
        "format": "MULTI_TASK",
        "state": _state(_life_cycle(run.stage, run.result), run.result, run.message, _is_forced(run)),
        "status": _status(_LIFE_CYCLE.get(run.stage, "TERMINATED"), run.result, run.message),
        "start_time": run.created_at_ms,
        **_durations(run.created_at_ms, run.started_at_ms, run.ended_at_ms),
    }
    if run.stage is Stage.QUEUED:
        found["status"]["queue_details"] = _QUEUED_BECAUSE
        found["state"]["queue_reason"] = _QUEUED_BECAUSE["message"]
    if run.job_id is not None:
        found["job_id"] = run.job_id
    if run.due_at_ms is not None:
        found["penstock_due_time"] = run.due_at_ms
    if run.parameters:
        found["job_parameters"] = [
            {"name": name, "value": value, **({"default": run.defaults[name]} if name in run.defaults else {})}
            for name, value in run.parameters.items()
        ]
    overriding: Json = {}
    if run.overrides.notebook:
        overriding["notebook_params"] = dict(run.overrides.notebook)
    if run.overrides.python is not None:
        overriding["python_params"] = list(run.overrides.python)
    if overriding:
        found["overriding_parameters"] = overriding
    if has_tasks:
        found["tasks"] = [encode_attempt(run, attempt) for attempt in run.attempts]
    return found


def encode_attempt(run: Run, attempt: Attempt) -> Json:
    """`RunTask`; rows of a batch task are ours."""
    life_cycle = _life_cycle(attempt.stage, attempt.result)
    state = _LIFE_CYCLE.get(attempt.stage, "TERMINATED")
    if attempt.stage is Stage.PENDING and attempt.number:
        life_cycle, state = "WAITING_FOR_RETRY", "WAITING"
    is_forced = attempt.result in {Result.CANCELED, Result.TIMEDOUT}
    first = next(other for other in run.attempts if other.task_key == attempt.task_key)
    found: Json = {
        **encode_task(run.task(attempt.task_key)),
        "run_id": attempt.id,
        "original_attempt_run_id": first.id,
        "attempt_number": attempt.number,
        "state": _state(life_cycle, attempt.result, attempt.message, is_forced),
        "status": _status(state, attempt.result, attempt.message),
        "start_time": attempt.started_at_ms or attempt.created_at_ms,
        **_durations(attempt.created_at_ms, attempt.started_at_ms, attempt.ended_at_ms),
    }
    if attempt.rows is not None:
        rows = attempt.rows
        found["penstock_rows"] = {"rows_in": rows.taken, "rows_out": rows.written, "rows_failed": rows.failed}
    return found


def encode_attempt_as_run(run: Run, attempt: Attempt) -> Json:
    """An attempt, asked for by its own id, as a `Run` of one task."""
    own = encode_attempt(run, attempt)
    shared = ("attempt_number", "state", "status", "start_time", "end_time", "execution_duration", "run_duration")
    return {
        **encode_run(run, has_tasks=False),
        **{name: own[name] for name in shared if name in own},
        "run_id": attempt.id,
        "run_name": attempt.task_key,
        "tasks": [own],
    }


def encode_output(run: Run, attempt: Attempt, output: Output) -> Json:
    """`RunOutput`."""
    found: Json = {
        "metadata": encode_attempt_as_run(run, attempt),
        "logs": output.logs,
        "logs_truncated": output.is_truncated,
    }
    if run.task(attempt.task_key).notebook is not None:
        found["notebook_output"] = {"truncated": output.is_result_truncated}
        if output.notebook_result is not None:
            found["notebook_output"]["result"] = output.notebook_result
    if attempt.result is not None and not attempt.result.is_good:
        found["error"] = output.error or attempt.message
        if output.error_trace:
            found["error_trace"] = output.error_trace
    if output.batch is not None:
        found["penstock_batch_output"] = output.batch
    return found


def _life_cycle(stage: Stage, result: Result | None) -> str:
    if result is None:
        return _LIFE_CYCLE[stage]
    if result is Result.LOST:
        return "INTERNAL_ERROR"
    return "SKIPPED" if result.is_skipped else "TERMINATED"


def _state(life_cycle: str, result: Result | None, message: str, is_forced: bool) -> Json:
    found: Json = {
        "life_cycle_state": life_cycle,
        "state_message": message,
        "user_cancelled_or_timedout": is_forced,
    }
    if result is Result.LOST:
        found["result_state"] = Result.FAILED.value
    elif result is not None and result is not Result.MISSED:
        found["result_state"] = result.value
    return found


def _status(state: str, result: Result | None, message: str) -> Json:
    if result is None:
        return {"state": state}
    kind: Literal["SUCCESS", "INTERNAL_ERROR", "CLIENT_ERROR"] = "CLIENT_ERROR"
    if result.is_good:
        kind = "SUCCESS"
    elif result is Result.LOST:
        kind = "INTERNAL_ERROR"
    return {"state": "TERMINATED", "termination_details": {"code": _CODES[result], "type": kind, "message": message}}


def _is_forced(run: Run) -> bool:
    return run.result in {Result.CANCELED, Result.TIMEDOUT}


def _durations(created_ms: int, started_ms: int | None, ended_ms: int | None) -> Json:
    """Milliseconds; those of parts of a run that there are none of here are 0."""
    found: Json = {"setup_duration": 0, "cleanup_duration": 0, "execution_duration": 0}
    if started_ms is not None:
        found["queue_duration"] = started_ms - created_ms
    if ended_ms is not None:
        found["end_time"] = ended_ms
        found["run_duration"] = max(0, ended_ms - (started_ms or ended_ms))
        found["execution_duration"] = found["run_duration"]
    return found
