"""The runner of jobs: begins what is due, brings every run a step further, and asks the supervisor for processes.

Each turn looks at what is stored and what is seen, never at what happened: a process that ended, a cancelled run, a due
schedule, and a control plane that was away all come to the same. A process belongs to the supervisor and outlives this
one; how it ended stands in its folder. Whatever is stored is loaded and saved without anything in between.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.control.cluster import Cluster, running_attempts
from penstock.control.job_clock import due_between, next_due_ms
from penstock.control.job_runs import admitted, run_of
from penstock.control.job_work import CannotWork, spec_of
from penstock.domain.errors import InvalidParameterValue, PenstockError
from penstock.domain.jobs.job import Job
from penstock.domain.jobs.planning import Ended, Seen, failed_to_start, started, step
from penstock.domain.jobs.run import Result, Run, Stage, Trigger
from penstock.domain.jobs.task_spec import PREFIX, TaskSpec
from penstock.runtime.job_files import JobFiles
from penstock.stores.job_runs import RunStore, Wanted
from penstock.stores.jobs import JobStore

LATE_MS = 60_000
"""A run that was due no longer ago is begun; one that was due before that was missed."""
MAX_MISSED = 10
"""Missed runs of a job that are shown one by one when the stack comes back; of more, how many there were."""
_LONGEST_PAUSE_S, _RETRY_S = 30.0, 1.0

_log = logging.getLogger(__name__)


def granted_attempts(runs: Iterable[Run]) -> Iterator[tuple[str, int]]:
    """The attempts whose tokens hold: those that have a process, each with the principal whose rights it has."""
    for run in runs:
        for attempt in run.attempts:
            if attempt.stage in {Stage.RUNNING, Stage.ENDING}:
                yield run.owner, attempt.id


class JobRunner:
    """Does what jobs and their runs ask for."""

    def __init__(
        self,
        jobs: JobStore,
        runs: RunStore,
        files: JobFiles,
        cluster: Cluster,
        supervisor: SupervisorClient,
        publish: Callable[[], Awaitable[object]],
        max_tasks: int,
        workspace: Path | None,
        now_ms: Callable[[], int],
    ) -> None:
        """Begin nothing yet.

        Args:
            jobs: what there is to run.
            runs: where they stand.
            files: what they leave.
            cluster: what is seen of the stack.
            supervisor: has processes run.
            publish: has gateways know whose tokens hold.
            max_tasks: how many processes there may be at a time.
            workspace: where files of tasks are looked for; None for anywhere.
            now_ms: the clock.
        """
        self._jobs = jobs
        self._runs = runs
        self._files = files
        self._cluster = cluster
        self._supervisor = supervisor
        self._publish = publish
        self._max_tasks = max_tasks
        self._workspace = workspace
        self._now_ms = now_ms
        self._news = asyncio.Event()
        self._granted: frozenset[tuple[str, int]] | None = None

    def wake(self) -> None:
        """Something may have changed."""
        self._news.set()

    async def run(self) -> None:
        """Take turns until cancelled."""
        self._sweep()
        while True:
            self._news.clear()
            pause_s = _RETRY_S
            try:
                if self._cluster.is_known:
                    pause_s = await self.turn()
            except (SupervisorUnreachable, PenstockError, OSError) as exc:
                _log.warning("jobs have to wait: %s", exc)
            except Exception:  # noqa: BLE001 - the one place where a loop catches broadly: log and back off
                _log.exception("a turn of jobs failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause_s)

    async def turn(self) -> float:
        """Do all that is to be done now; in how many seconds to look again if nobody tells of anything.

        Raises:
            SupervisorUnreachable, PenstockError: something could not be done, and is to be tried again.
        """
        self._begin_due()
        self._admit()
        seen = await self._look()
        begun = [run for run in self._runs.active() if run.stage is not Stage.QUEUED or run.is_cancelled]
        moments = [self._jobs.next_due_ms(), *(self._step(run.id, seen) for run in begun)]
        specs = self._start()
        active = self._runs.active()
        granted = frozenset(granted_attempts(active))
        if granted != self._granted:
            await self._publish()
            self._granted = granted
        for spec in specs:
            await self._ask_for(spec)
        for attempt in (attempt for run in active for attempt in run.attempts):
            if attempt.stage is Stage.ENDING and attempt.id in seen.running:
                await self._supervisor.end_task(f"{PREFIX}{attempt.id}")
        next_ms = min((moment for moment in moments if moment is not None), default=None)
        now_ms = self._now_ms()
        return _LONGEST_PAUSE_S if next_ms is None else min(max((next_ms - now_ms) / 1000, 0), _LONGEST_PAUSE_S)

    def _begin_due(self) -> None:
        now_ms = self._now_ms()
        for job in self._jobs.due(now_ms):
            try:
                self._begin(job, now_ms)
            except InvalidParameterValue as exc:  # of a time zone that this machine does not know any more
                _log.error("job %d is not run by its schedule any more: %s", job.id, exc)
                self._runs.insert_due(job.id, (), None)
            self._prune(job.id)

    def _begin(self, job: Job, now_ms: int) -> None:
        """Begin the run that a job's schedule wants, and show those that it wanted while nobody was there."""
        schedule, first_ms = job.settings.schedule, job.next_due_ms
        if schedule is None or first_ms is None:
            return
        missed, more = due_between(schedule, first_ms, now_ms - LATE_MS - 1, MAX_MISSED)
        recent, _ = due_between(schedule, max(first_ms, now_ms - LATE_MS), now_ms, LATE_MS)
        missed = [*missed, *recent[:-1]]
        more += max(0, len(missed) - MAX_MISSED)
        missed = missed[:MAX_MISSED]
        begun = [self._missed(job, moment, more if moment == missed[-1] else 0) for moment in missed]
        if recent:
            active = self._runs.runs(Wanted(job_id=job.id, is_active=True))
            run = replace(run_of(job, now_ms, Trigger.PERIODIC), due_at_ms=recent[-1])
            begun.append(admitted(run, job, active, is_queued=job.settings.is_queued))
        self._runs.insert_due(job.id, begun, next_due_ms(schedule, now_ms))

    def _missed(self, job: Job, due_ms: int, more: int) -> Run:
        now_ms = self._now_ms()
        due = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat(timespec="seconds")
        message = f"Missed: it was due at {due}, and nothing was there to begin it."
        if more:
            message += f" So were {more} or more after it, which are not told of one by one."
        return replace(
            run_of(job, now_ms, Trigger.PERIODIC),
            due_at_ms=due_ms,
            stage=Stage.ENDED,
            result=Result.MISSED,
            message=message,
            started_at_ms=None,
            ended_at_ms=now_ms,
        )

    def _admit(self) -> None:
        """Runs that wait for their turn get it, the oldest first."""
        active = self._runs.active()
        for run in active:
            if run.stage is not Stage.QUEUED:
                continue
            job = None if run.job_id is None else self._jobs.job(run.job_id)
            running = [other for other in active if other.job_id == run.job_id and other.stage is not Stage.QUEUED]
            if job is None or len(running) < job.settings.max_concurrent_runs:
                begun = replace(run, stage=Stage.PENDING, started_at_ms=self._now_ms())
                self._runs.save(begun)
                active = [begun if other.id == run.id else other for other in active]

    async def _look(self) -> Seen:
        """What is seen of the processes of all attempts that should have one."""
        wanted = {
            attempt.id: run.id
            for run in self._runs.active()
            for attempt in run.attempts
            if attempt.stage in {Stage.RUNNING, Stage.ENDING}
        }
        ended = self._ended(wanted.items())
        running = self._cluster.tasks() - ended.keys()
        if wanted.keys() - ended.keys() - running:  # the last news may be older than a process that was asked for
            running = running_attempts(await self._supervisor.snapshot())
            ended = self._ended(wanted.items())
        unborn = set()
        for attempt_id in wanted.keys() - ended.keys() - running:
            if self._files.attempt(wanted[attempt_id], attempt_id).was_begun():
                ended[attempt_id] = Ended(self._now_ms(), is_with_stack=True)
            else:
                unborn.add(attempt_id)
        return Seen(running - ended.keys(), ended, unborn)

    def _ended(self, wanted: Iterable[tuple[int, int]]) -> dict[int, Ended]:
        found = {attempt_id: self._files.attempt(run_id, attempt_id).ended() for attempt_id, run_id in wanted}
        return {attempt_id: ended for attempt_id, ended in found.items() if ended is not None}

    def _step(self, run_id: int, seen: Seen) -> int | None:
        """Bring one run a step further; when to look again."""
        run = self._runs.run(run_id)
        if run is None or not run.is_active:
            return None
        done = step(run, seen, self._now_ms())
        if done.run != run or done.retry:
            self._runs.save(done.run, done.retry)
        if not done.run.is_active:
            _log.info("run %d of job %s: %s %s", run.id, run.job_id, done.run.result, done.run.message)
            self._prune(run.job_id)
            self._news.set()  # another may have its turn now
        elif done.retry:
            self._news.set()
        return done.look_again_ms

    def _start(self) -> list[TaskSpec]:
        """Note which attempts get a process now, the oldest first, and what these are to be told."""
        now_ms = self._now_ms()
        active = self._runs.active()
        room = self._max_tasks - sum(
            attempt.stage in {Stage.RUNNING, Stage.ENDING} for run in active for attempt in run.attempts
        )
        specs = []
        for run in active:
            for attempt in run.attempts if run.stage is not Stage.QUEUED else ():
                if attempt.stage is not Stage.PENDING or attempt.not_before_ms > now_ms or room <= 0:
                    continue
                current = self._runs.run(run.id) or run
                try:
                    specs.append(spec_of(current, attempt, self._workspace))
                except CannotWork as exc:
                    self._runs.save(failed_to_start(current, attempt.id, str(exc), now_ms))
                    self._news.set()
                    continue
                self._runs.save(started(current, attempt.id, now_ms))
                room -= 1
        return specs

    async def _ask_for(self, spec: TaskSpec) -> None:
        """Ask for a process, unless the run was cancelled meanwhile."""
        run = self._runs.run(spec.run_id)
        attempt = None if run is None else run.attempt(spec.attempt_id)
        if run is not None and not run.is_cancelled and attempt is not None and attempt.stage is Stage.RUNNING:
            await self._supervisor.run_task(spec)

    def _prune(self, job_id: int | None) -> None:
        for run_id in self._runs.prune(job_id, self._now_ms()):
            self._files.delete(run_id)

    def _sweep(self) -> None:
        """Remove what runs have left that nobody knows of."""
        known = self._runs.known()
        for run_id in self._files.run_ids():
            if run_id not in known:
                self._files.delete(run_id)
