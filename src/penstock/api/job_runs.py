"""`/api/2.2/jobs/run-now` and `/runs`: have jobs run, look at runs, cancel and delete them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from penstock.api.bodies import body_of_type
from penstock.api.context import Caller, Context
from penstock.api.job_routes import MAX_ID, Id, OptionalId, PageToken, both
from penstock.domain.errors import InvalidParameterValue, NotSupported
from penstock.stores.job_runs import Wanted
from penstock.wire.job_runs import (
    CancelAll,
    RunId,
    RunNow,
    SubmitRun,
    decode_submit,
    encode_attempt_as_run,
    encode_output,
    encode_run,
    overrides_of,
    token_of,
)
from penstock.wire.pages import before, page

router = APIRouter(tags=["jobs"])

_DEFAULT_PAGE, _MAX_PAGE = 20, 25


@both(router, "POST", "/run-now", RunNow)
async def run_now(
    context: Context, caller: Caller, body: Annotated[RunNow, Depends(body_of_type(RunNow))]
) -> dict[str, Any]:
    """Have a job run."""
    run = context.job_runs.run_now(
        body.job_id,
        caller,
        body.job_parameters or {},
        overrides_of(body),
        token_of(body),
        is_queued=None if body.queue is None else body.queue.enabled,
    )
    return {"run_id": run.id, "number_in_job": run.number_in_job}


@both(router, "POST", "/runs/submit", SubmitRun)
async def submit_run(
    context: Context, caller: Caller, body: Annotated[SubmitRun, Depends(body_of_type(SubmitRun))]
) -> dict[str, Any]:
    """Begin a run that belongs to no job."""
    wanted = decode_submit(body)
    run = context.job_runs.submit(wanted.tasks, caller, wanted.name, wanted.timeout_s, token_of(body))
    return {"run_id": run.id}


@both(router, "GET", "/runs/get")
async def get_run(context: Context, caller: Caller, run_id: Id) -> dict[str, Any]:
    """Get a run, or one attempt at one of its tasks."""
    run, attempt = context.job_runs.get(run_id, caller)
    return encode_run(run) if attempt is None else encode_attempt_as_run(run, attempt)


@both(router, "GET", "/runs/list")
async def list_runs(
    context: Context,
    caller: Caller,
    job_id: OptionalId = None,
    run_type: Literal["JOB_RUN", "SUBMIT_RUN", "WORKFLOW_RUN"] | None = None,
    start_time_from: OptionalId = None,
    start_time_to: OptionalId = None,
    limit: Annotated[int, Query(ge=0, le=_MAX_PAGE)] = _DEFAULT_PAGE,
    offset: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    page_token: PageToken = None,
    *,
    active_only: bool = False,
    completed_only: bool = False,
    expand_tasks: bool = False,
) -> dict[str, Any]:
    """List the runs that the caller may see, the newest first."""
    if active_only and completed_only:
        raise InvalidParameterValue("completed_only: got both this and active_only; wanted one at most.")
    limit = limit or _MAX_PAGE
    wanted = Wanted(
        job_id=job_id,
        is_active=True if active_only else False if completed_only else None,
        is_of_job=None if run_type is None else run_type == "JOB_RUN",
        from_ms=start_time_from,
        to_ms=start_time_to,
        before=before(page_token),
        offset=offset,
    )
    found = [] if run_type == "WORKFLOW_RUN" else context.job_runs.visible(caller, wanted, limit + 1)
    items = [encode_run(run, has_tasks=expand_tasks) for run in found]
    return page("runs", items, [run.id for run in found], limit)


@both(router, "GET", "/runs/get-output")
async def get_run_output(context: Context, caller: Caller, run_id: Id) -> dict[str, Any]:
    """What an attempt has left behind: its log, and what a notebook gave out."""
    return encode_output(*context.job_runs.output(run_id, caller))


@both(router, "POST", "/runs/cancel", RunId)
async def cancel_run(
    context: Context, caller: Caller, body: Annotated[RunId, Depends(body_of_type(RunId))]
) -> dict[str, Any]:
    """Have a run end."""
    context.job_runs.cancel(body.run_id, caller)
    return {}


@both(router, "POST", "/runs/cancel-all", CancelAll)
async def cancel_all_runs(
    context: Context, caller: Caller, body: Annotated[CancelAll, Depends(body_of_type(CancelAll))]
) -> dict[str, Any]:
    """Have all runs of a job end, or all that wait for their turn."""
    if body.job_id is None and not body.all_queued_runs:
        raise InvalidParameterValue("job_id: missing; wanted a job, or all_queued_runs.")
    context.job_runs.cancel_all(caller, body.job_id, is_queued_only=bool(body.all_queued_runs))
    return {}


@both(router, "POST", "/runs/delete", RunId)
async def delete_run(
    context: Context, caller: Caller, body: Annotated[RunId, Depends(body_of_type(RunId))]
) -> dict[str, Any]:
    """Forget a run that has ended, with all that it left."""
    context.job_runs.delete(body.run_id, caller)
    return {}


@both(router, "POST", "/runs/repair", is_told=False)
async def repair_run() -> None:
    """Running some tasks of a run again: not to be had here."""
    raise NotSupported("runs/repair: runs are not repaired here; give tasks max_retries, or have the job run again.")


@both(router, "GET", "/runs/export", is_told=False)
async def export_run() -> None:
    """A run as HTML: not to be had here."""
    raise NotSupported("runs/export: runs are not exported here; runs/get-output has the log.")
