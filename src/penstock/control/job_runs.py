"""Use cases of runs: begin, look at, cancel, forget. What is done about them then is the runner's (`job_runner`)."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from penstock.control.jobs import Jobs
from penstock.control.permissions import Permissions
from penstock.domain.errors import (
    InvalidParameterValue,
    PermissionDenied,
    ResourceConflict,
    ResourceDoesNotExist,
    ResourceExhausted,
)
from penstock.domain.jobs.job import Job, Task, check_parameter
from penstock.domain.jobs.output import Output
from penstock.domain.jobs.run import Attempt, Overrides, Result, Run, Stage, Trigger
from penstock.runtime.job_files import JobFiles
from penstock.stores.job_runs import RunStore, Wanted

MAX_QUEUED = 1000
"""Runs of one job that wait for their turn."""
MAX_ACTIVE = 2000
"""Runs of all jobs that have not ended."""


class JobRuns:
    """All that can be done with runs."""

    def __init__(
        self,
        store: RunStore,
        jobs: Jobs,
        permissions: Permissions,
        files: JobFiles,
        wake: Callable[[], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._permissions = permissions
        self._files = files
        self._wake = wake
        self._now_ms = now_ms

    def run_now(
        self,
        job_id: int,
        caller: str,
        parameters: Mapping[str, str],
        overrides: Overrides,
        token: str | None = None,
        *,
        is_queued: bool | None = None,
    ) -> Run:
        """Have a job run, or find the run that the same token asked for before.

        Raises:
            ResourceDoesNotExist, PermissionDenied: as of the job; or the token's run was deleted.
            InvalidParameterValue: a parameter is none of the job's.
            ResourceExhausted: as many runs are active as may be.
        """
        job = self._jobs.get(job_id, caller)
        known = self._of_token(caller, token)
        if known is not None:
            return known
        for name, value in parameters.items():
            if name not in job.settings.parameters:
                told = ", ".join(job.settings.parameters) or "none"
                raise InvalidParameterValue(f"job_parameters.{name}: the job has no such parameter; there are: {told}.")
            check_parameter(f"job_parameters.{name}", name, value)
        self._check_room()
        run = replace(
            run_of(job, self._now_ms(), Trigger.ONE_TIME),
            creator=caller,
            parameters={**job.settings.parameters, **parameters},
            overrides=overrides,
        )
        waits = job.settings.is_queued if is_queued is None else is_queued
        active = self._store.runs(Wanted(job_id=job.id, is_active=True))
        run = self._store.insert(admitted(run, job, active, is_queued=waits), token)
        self._wake()
        return run

    def submit(self, tasks: tuple[Task, ...], caller: str, name: str, timeout_s: int, token: str | None) -> Run:
        """Begin a run that belongs to no job; raises as `run_now` does."""
        known = self._of_token(caller, token)
        if known is not None:
            return known
        self._check_room()
        now_ms = self._now_ms()
        run = Run(0, name, caller, caller, tasks, now_ms, timeout_s=timeout_s, started_at_ms=now_ms)
        run = self._store.insert(run, token)
        self._wake()
        return run

    def get(self, any_id: int, caller: str) -> tuple[Run, Attempt | None]:
        """A run by its id; or by that of an attempt, and then also that.

        Raises:
            ResourceDoesNotExist: there is none.
            PermissionDenied: it is somebody else's.
        """
        run = self._store.run(any_id)
        attempt = None if run is None or run.id == any_id else run.attempt(any_id)
        if run is None or (run.id != any_id and attempt is None):
            raise ResourceDoesNotExist(f"Run {any_id} does not exist.")
        if run.owner != caller and not self._permissions.is_admin(caller):
            raise PermissionDenied(f"'{caller}' may not see or change run {any_id}, which is another principal's.")
        return run, attempt

    def visible(self, caller: str, wanted: Wanted, limit: int) -> list[Run]:
        """Runs that the caller may see, the newest first."""
        owner = None if self._permissions.is_admin(caller) else caller
        return self._store.runs(replace(wanted, owner=owner), limit)

    def cancel(self, any_id: int, caller: str) -> None:
        """Have a run end, whole; nothing happens to one that has ended. Raises as `get` does."""
        run, _ = self.get(any_id, caller)
        if run.is_active and not run.is_cancelled:
            self._store.save(replace(run, is_cancelled=True))
            self._wake()

    def cancel_all(self, caller: str, job_id: int | None, *, is_queued_only: bool) -> None:
        """Have all active runs of a job end, or all that wait for their turn; raises as `Jobs.get` does."""
        if job_id is not None:
            self._jobs.get(job_id, caller)
        for run in self.visible(caller, Wanted(job_id=job_id, is_active=True), MAX_ACTIVE):
            if run.stage is Stage.QUEUED or not is_queued_only:
                self.cancel(run.id, caller)

    def delete(self, run_id: int, caller: str) -> None:
        """Forget a run that has ended, with what it left; raises as `get` does.

        Raises:
            ResourceConflict: it has not ended.
        """
        run, _ = self.get(run_id, caller)
        if run.is_active:
            raise ResourceConflict(f"Run {run.id} has not ended; cancel it before you delete it.")
        self._store.delete([run.id])
        self._files.delete(run.id)

    def output(self, any_id: int, caller: str) -> tuple[Run, Attempt, Output]:
        """What an attempt has left behind, or a run of one task; raises as `get` does.

        Raises:
            InvalidParameterValue: the run has several tasks, or none that was ever started.
        """
        run, attempt = self.get(any_id, caller)
        if attempt is None and len(run.tasks) == 1 and run.attempts:
            attempt = run.attempts[-1]
        if attempt is None:
            raise InvalidParameterValue(
                f"run_id: run {any_id} has {len(run.attempts)} tasks; ask for the output of one of them, by its run_id."
            )
        return run, attempt, self._output(run, attempt)

    def _output(self, run: Run, attempt: Attempt) -> Output:
        files = self._files.attempt(run.id, attempt.id)
        logs, is_truncated = files.read_log()
        result = files.read_result() or {}
        error, trace = files.failure() if attempt.result is Result.FAILED else ("", "")
        return Output(
            logs,
            is_truncated,
            result.get("result"),
            is_result_truncated=bool(result.get("is_truncated")),
            error=error,
            error_trace=trace,
            batch=files.read_batch(),
        )

    def _of_token(self, caller: str, token: str | None) -> Run | None:
        run_id = None if token is None else self._store.of_token(caller, token)
        if run_id is None:
            return None
        run = self._store.run(run_id)
        if run is None:
            raise ResourceDoesNotExist(f"idempotency_token: run {run_id}, which was asked for with it, was deleted.")
        return run

    def _check_room(self) -> None:
        if len(self._store.active()) >= MAX_ACTIVE:
            raise ResourceExhausted(f"{MAX_ACTIVE} runs have not ended, as many as there may be.")


def run_of(job: Job, now_ms: int, trigger: Trigger) -> Run:
    """A run of a job as it is now, not stored yet."""
    settings = job.settings
    return Run(
        0,
        settings.name,
        job.creator,
        job.creator,
        settings.tasks,
        now_ms,
        job.id,
        trigger=trigger,
        parameters=settings.parameters,
        defaults=settings.parameters,
        timeout_s=settings.timeout_s,
        started_at_ms=now_ms,
    )


def admitted(run: Run, job: Job, active: list[Run], *, is_queued: bool) -> Run:
    """A run as it begins beside those that are active: at once, waiting for its turn, or not at all."""
    running = sum(other.stage is not Stage.QUEUED for other in active)
    if running < job.settings.max_concurrent_runs and (running == len(active) or not is_queued):
        return run
    if is_queued and len(active) - running < MAX_QUEUED:
        return replace(run, stage=Stage.QUEUED, started_at_ms=None)
    message = f"Skipped: {running} run(s) of the job are active, and it may have {job.settings.max_concurrent_runs}."
    return replace(
        run,
        stage=Stage.ENDED,
        result=Result.TOO_MANY,
        message=message,
        started_at_ms=None,
        ended_at_ms=run.created_at_ms,
    )
