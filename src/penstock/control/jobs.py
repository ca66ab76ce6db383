"""Use cases of jobs: create, read, change, delete. Their creators and admins may, nobody else."""

from collections.abc import Callable

from penstock.control.job_clock import check_schedule, next_due_ms
from penstock.control.permissions import Permissions
from penstock.domain.errors import PermissionDenied, ResourceDoesNotExist
from penstock.domain.jobs.job import Job, JobSettings, Schedule
from penstock.stores.jobs import JobStore


class Jobs:
    """All that can be done with jobs, but for running them."""

    def __init__(
        self, store: JobStore, permissions: Permissions, wake: Callable[[], None], now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._permissions = permissions
        self._wake = wake
        self._now_ms = now_ms

    def create(self, settings: JobSettings, caller: str) -> Job:
        """Store a new job.

        Raises:
            InvalidParameterValue: its schedule cannot be followed.
            PermissionDenied: it is to run as somebody else.
            ResourceExhausted: there are as many jobs as there may be.
        """
        now_ms = self._now_ms()
        _check_run_as(settings, caller)
        job = self._store.insert(settings, caller, now_ms, _next(settings.schedule, now_ms))
        self._wake()
        return job

    def get(self, job_id: int, caller: str) -> Job:
        """A job.

        Raises:
            ResourceDoesNotExist: there is none of that id.
            PermissionDenied: it is somebody else's.
        """
        job = self._store.job(job_id)
        if job is None:
            raise ResourceDoesNotExist(f"Job {job_id} does not exist.")
        if job.creator != caller and not self._permissions.is_admin(caller):
            raise PermissionDenied(f"'{caller}' may not see or change job {job_id}, which is another principal's.")
        return job

    def visible(self, caller: str, name: str | None, before: int | None, offset: int, limit: int) -> list[Job]:
        """Jobs that the caller may see, the newest first."""
        owner = None if self._permissions.is_admin(caller) else caller
        return self._store.jobs(owner, name, before, offset, limit)

    def change(self, job_id: int, change: Callable[[JobSettings], JobSettings], caller: str) -> None:
        """Give a job other settings; runs that have begun keep what they began with.

        Raises:
            ResourceDoesNotExist, PermissionDenied, InvalidParameterValue: as `get` and `create` do.
        """
        job = self.get(job_id, caller)
        settings = change(job.settings)
        _check_run_as(settings, job.creator)
        is_same = settings.schedule == job.settings.schedule
        due_ms = job.next_due_ms if is_same else _next(settings.schedule, self._now_ms())
        self._store.save(job_id, settings, due_ms)
        self._wake()

    def delete(self, job_id: int, caller: str) -> None:
        """Forget a job; raises as `get` does."""
        self._store.delete(self.get(job_id, caller).id)


def _next(schedule: Schedule | None, now_ms: int) -> int | None:
    if schedule is None:
        return None
    check_schedule(schedule, now_ms)
    return None if schedule.is_paused else next_due_ms(schedule, now_ms)


def _check_run_as(settings: JobSettings, owner: str) -> None:
    wanted = settings.extras.get("run_as")
    if isinstance(wanted, dict) and set(wanted.values()) - {owner}:
        raise PermissionDenied(f"run_as: wanted '{owner}': a job runs as the principal that created it.")
