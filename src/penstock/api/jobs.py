"""`/api/2.2/jobs`: create, get, list, update, reset and delete jobs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from penstock.api.bodies import body_of_type
from penstock.api.context import Caller, Context
from penstock.api.job_routes import MAX_ID, Id, PageToken, both
from penstock.domain.errors import NotSupported
from penstock.wire.jobs import CreateJob, JobId, ResetJob, UpdateJob, decode_settings, encode_job, updated
from penstock.wire.pages import before, page

router = APIRouter(tags=["jobs"])

_DEFAULT_PAGE, _MAX_PAGE = 20, 100


@both(router, "POST", "/create", CreateJob)
async def create_job(
    context: Context, caller: Caller, body: Annotated[CreateJob, Depends(body_of_type(CreateJob))]
) -> dict[str, Any]:
    """Create a job."""
    return {"job_id": context.jobs.create(decode_settings(body), caller).id}


@both(router, "GET", "/get")
async def get_job(context: Context, caller: Caller, job_id: Id) -> dict[str, Any]:
    """Get a job."""
    return encode_job(context.jobs.get(job_id, caller))


@both(router, "GET", "/list")
async def list_jobs(
    context: Context,
    caller: Caller,
    name: str | None = None,
    limit: Annotated[int, Query(ge=0, le=_MAX_PAGE)] = _DEFAULT_PAGE,
    offset: Annotated[int, Query(ge=0, le=MAX_ID)] = 0,
    page_token: PageToken = None,
    *,
    expand_tasks: bool = False,
) -> dict[str, Any]:
    """List the jobs that the caller may see, the newest first."""
    limit = limit or _MAX_PAGE
    found = context.jobs.visible(caller, name, before(page_token), offset, limit + 1)
    items = [encode_job(job, has_tasks=expand_tasks) for job in found]
    return page("jobs", items, [job.id for job in found], limit)


@both(router, "POST", "/reset", ResetJob)
async def reset_job(
    context: Context, caller: Caller, body: Annotated[ResetJob, Depends(body_of_type(ResetJob))]
) -> dict[str, Any]:
    """Replace all settings of a job."""
    settings = decode_settings(body.new_settings)
    context.jobs.change(body.job_id, lambda _: settings, caller)
    return {}


@both(router, "POST", "/update", UpdateJob)
async def update_job(
    context: Context, caller: Caller, body: Annotated[UpdateJob, Depends(body_of_type(UpdateJob))]
) -> dict[str, Any]:
    """Replace some settings of a job."""
    context.jobs.change(body.job_id, lambda settings: updated(settings, body), caller)
    return {}


@both(router, "POST", "/delete", JobId)
async def delete_job(
    context: Context, caller: Caller, body: Annotated[JobId, Depends(body_of_type(JobId))]
) -> dict[str, Any]:
    """Delete a job, and have its runs end."""
    context.job_runs.cancel_all(caller, body.job_id, is_queued_only=False)
    context.jobs.delete(body.job_id, caller)
    return {}


@router.get("/api/2.0/permissions/jobs/{job_id}", include_in_schema=False)
@router.put("/api/2.0/permissions/jobs/{job_id}", include_in_schema=False)
@router.patch("/api/2.0/permissions/jobs/{job_id}", include_in_schema=False)
@router.get("/api/2.0/permissions/jobs/{job_id}/permissionLevels", include_in_schema=False)
async def job_permissions(job_id: str) -> None:
    """Lists of access of jobs: not to be had here."""
    raise NotSupported(f"Job {job_id[:40]}: jobs have no lists of access here: their creators and admins manage them.")
