"""What is to be done next about a run: a pure decision over what is stored and what is seen of its processes.

It is asked again after whatever happened: a process ended, time passed, somebody cancelled, everything was restarted.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from penstock.domain.jobs.job import RunIf, Task
from penstock.domain.jobs.run import MAX_KEPT_ATTEMPTS, MAX_MESSAGE, Attempt, Result, Rows, Run, Stage

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1, 64
BATCH_SOME_FAILED = 7
"""The exit code of a batch run that finished, though some rows failed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process of an attempt ended."""

    at_ms: int
    exit_code: int | None = None
    """None if it was killed, or could not be started."""
    message: str = ""
    rows: Rows | None = None
    is_with_stack: bool = False
    """It was ended because the stack was, or is just gone."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of processes of attempts."""

    running: Collection[int] = ()
    ended: Mapping[int, Ended] = field(default_factory=dict)
    unborn: Collection[int] = ()
    """Attempts whose process was wanted and never came to be."""


@dataclass(frozen=True, slots=True)
class Step:
    """A run as it is from now on, and what is to be done about it."""

    run: Run
    start: tuple[int, ...] = ()
    """Attempts whose processes are wanted now."""
    end: tuple[int, ...] = ()
    """Attempts whose processes are to be told to end."""
    retry: tuple[Attempt, ...] = ()
    """Attempts to be added; they get their ids where the run is stored."""
    look_again_ms: int | None = None
    """When something happens without anybody telling."""


def step(run: Run, seen: Seen, now_ms: int) -> Step:
    """The next step of a run that has not ended and whose turn has come."""
    run = _with_time(run, now_ms)
    run = _each(run, lambda attempt: _with_seen(run, attempt, seen, now_ms))
    retry: tuple[Attempt, ...] = ()
    if run.is_cancelled or run.is_timed_out:
        run = _each(run, lambda attempt: _given_up(run, attempt, now_ms))
    else:
        run = _unblocked(run, now_ms)
        retry = tuple(_retries(run, now_ms))
    run = _concluded(run, has_more=bool(retry), now_ms=now_ms)
    return Step(
        run,
        tuple(a.id for a in run.attempts if a.stage is Stage.PENDING and a.not_before_ms <= now_ms),
        tuple(a.id for a in run.attempts if a.stage is Stage.ENDING),
        retry,
        _next_moment(run, retry, now_ms),
    )


def started(run: Run, attempt_id: int, now_ms: int) -> Run:
    """A run one of whose attempts is about to have a process."""

    def change(attempt: Attempt) -> Attempt:
        if attempt.id != attempt_id:
            return attempt
        return replace(attempt, stage=Stage.RUNNING, started_at_ms=now_ms)

    return replace(_each(run, change), stage=Stage.RUNNING)


def failed_to_start(run: Run, attempt_id: int, message: str, now_ms: int) -> Run:
    """A run one of whose attempts cannot have a process: its file is not there, say."""
    return _each(run, lambda a: _ended(a, Result.FAILED, message, now_ms) if a.id == attempt_id else a)


def with_attempt(run: Run, attempt: Attempt) -> Run:
    """A run with one more attempt; of one task only the newest are kept."""
    own = [other.id for other in run.attempts if other.task_key == attempt.task_key]
    surplus = set(own[: max(0, len(own) + 1 - MAX_KEPT_ATTEMPTS)])
    return replace(run, attempts=(*(a for a in run.attempts if a.id not in surplus), attempt))


def is_met(condition: RunIf, results: Collection[Result]) -> bool:
    """Whether what a task depends on has come as it was to come."""
    good = sum(result.is_good for result in results)
    failed = sum(not result.is_good and result is not Result.EXCLUDED for result in results)
    match condition:
        case RunIf.ALL_SUCCESS:
            return good == len(results)
        case RunIf.AT_LEAST_ONE_SUCCESS:
            return good > 0
        case RunIf.NONE_FAILED:
            return failed == 0 and (good > 0 or not results)
        case RunIf.ALL_DONE:
            return True
        case RunIf.AT_LEAST_ONE_FAILED:
            return failed > 0
        case RunIf.ALL_FAILED:
            return failed == len(results)


def _each(run: Run, change: Callable[[Attempt], Attempt]) -> Run:
    return replace(run, attempts=tuple(map(change, run.attempts)))


def _with_time(run: Run, now_ms: int) -> Run:
    begun_ms = run.started_at_ms or run.created_at_ms
    if run.timeout_s and not run.is_cancelled and now_ms >= begun_ms + run.timeout_s * 1000:
        return replace(run, is_timed_out=True)
    return run


def _with_seen(run: Run, attempt: Attempt, seen: Seen, now_ms: int) -> Attempt:
    """An attempt with what became of its process, and with its own time limit."""
    if attempt.stage not in {Stage.RUNNING, Stage.ENDING}:
        return attempt
    if attempt.id in seen.unborn:
        if attempt.stage is Stage.RUNNING:
            return replace(attempt, stage=Stage.PENDING, started_at_ms=None)
        return _with_end(run, attempt, Ended(now_ms))
    ended = seen.ended.get(attempt.id)
    if ended is not None:
        return _with_end(run, attempt, ended)
    limit_s = run.task(attempt.task_key).timeout_s
    is_over = limit_s and attempt.started_at_ms is not None and now_ms >= attempt.started_at_ms + limit_s * 1000
    if is_over and attempt.stage is Stage.RUNNING:
        return replace(attempt, stage=Stage.ENDING, is_timed_out=True)
    return attempt


def _with_end(run: Run, attempt: Attempt, ended: Ended) -> Attempt:
    attempt = replace(attempt, exit_code=ended.exit_code, rows=ended.rows)
    result, message = Result.FAILED, ended.message
    if ended.exit_code == 0:
        result, message = Result.SUCCESS, ""
    elif ended.is_with_stack and attempt.stage is not Stage.ENDING:
        result = Result.LOST
        message = "The stack ended while it ran; how far it had come is not known."
    elif attempt.is_timed_out or (run.is_timed_out and attempt.stage is Stage.ENDING):
        limit_s = run.task(attempt.task_key).timeout_s if attempt.is_timed_out else run.timeout_s
        result, message = Result.TIMEDOUT, f"It was ended: it had not finished after {limit_s} s."
    elif attempt.stage is Stage.ENDING:
        result, message = Result.CANCELED, "It was cancelled."
    elif ended.exit_code == BATCH_SOME_FAILED and run.task(attempt.task_key).batch is not None:
        result = Result.SUCCESS_WITH_FAILURES
    return _ended(attempt, result, message, ended.at_ms)


def _ended(attempt: Attempt, result: Result, message: str, at_ms: int) -> Attempt:
    return replace(attempt, stage=Stage.ENDED, result=result, message=message[:MAX_MESSAGE], ended_at_ms=at_ms)


def _given_up(run: Run, attempt: Attempt, now_ms: int) -> Attempt:
    """An attempt of a run that was cancelled, or whose time is over."""
    if attempt.stage is Stage.RUNNING:
        return replace(attempt, stage=Stage.ENDING)
    if attempt.stage in {Stage.BLOCKED, Stage.PENDING}:
        result = Result.CANCELED if run.is_cancelled else Result.TIMEDOUT
        return _ended(attempt, result, "The run ended before it was started.", now_ms)
    return attempt


def _retries(run: Run, now_ms: int) -> Iterator[Attempt]:
    """Attempts that follow those that failed."""
    for key, last in run.latest.items():
        task = run.task(key)
        if is_retried(task, last):
            at_ms = _retry_at_ms(task, last, now_ms)
            yield Attempt(0, key, last.number + 1, Stage.PENDING, created_at_ms=now_ms, not_before_ms=at_ms)


def is_retried(task: Task, last: Attempt) -> bool:
    """Whether another attempt follows this one, the last so far."""
    if last.result is Result.TIMEDOUT and not task.retries_on_timeout:
        return False
    has_failed = last.result in {Result.FAILED, Result.TIMEDOUT, Result.LOST}
    return has_failed and (task.max_retries == -1 or last.number < task.max_retries)


def _retry_at_ms(task: Task, last: Attempt, now_ms: int) -> int:
    """A second after the first failure, and twice as long after each further one; never before the task's own pause."""
    pause_s = min(_FIRST_PAUSE_S << min(last.number, 10), _LONGEST_PAUSE_S)
    ended_ms = now_ms if last.ended_at_ms is None else last.ended_at_ms
    started_ms = ended_ms if last.started_at_ms is None else last.started_at_ms
    return max(ended_ms + pause_s * 1000, started_ms + task.min_retry_interval_ms)


def _results(run: Run) -> dict[str, Result]:
    """What became of tasks that are over: no attempt at them follows."""
    return {
        key: last.result
        for key, last in run.latest.items()
        if last.result is not None and not is_retried(run.task(key), last)
    }


def _unblocked(run: Run, now_ms: int) -> Run:
    """Tasks whose turn has come wait for a process; those whose turn can never come are passed over."""
    results = _results(run)
    changed = _each(run, lambda attempt: _with_upstream(run, attempt, results, now_ms))
    return run if changed == run else _unblocked(changed, now_ms)


def _with_upstream(run: Run, attempt: Attempt, results: Mapping[str, Result], now_ms: int) -> Attempt:
    task = run.task(attempt.task_key)
    if attempt.stage is not Stage.BLOCKED or not all(key in results for key in task.depends_on):
        return attempt
    upstream = [results[key] for key in task.depends_on]
    if is_met(task.run_if, upstream):
        return replace(attempt, stage=Stage.PENDING, not_before_ms=now_ms)
    result = _why_passed_over(upstream)
    return _ended(attempt, result, _PASSED_OVER[result], now_ms)


_PASSED_OVER = {
    Result.UPSTREAM_FAILED: "A task that it depends on failed.",
    Result.UPSTREAM_CANCELED: "A task that it depends on was cancelled.",
    Result.EXCLUDED: "What it depends on did not come as its run_if wants it.",
}


def _why_passed_over(results: Sequence[Result]) -> Result:
    if any(result in {Result.CANCELED, Result.UPSTREAM_CANCELED} for result in results):
        return Result.UPSTREAM_CANCELED
    if any(not result.is_good and result is not Result.EXCLUDED for result in results):
        return Result.UPSTREAM_FAILED
    return Result.EXCLUDED


def _concluded(run: Run, *, has_more: bool, now_ms: int) -> Run:
    """The stage of the whole run; when nothing is left to do, what became of it."""
    open_attempts = [attempt for attempt in run.attempts if attempt.stage is not Stage.ENDED]
    if run.is_cancelled or run.is_timed_out:
        if open_attempts:
            return replace(run, stage=Stage.ENDING)
        result = Result.CANCELED if run.is_cancelled else Result.TIMEDOUT
        message = "It was cancelled." if run.is_cancelled else f"It was ended: its {run.timeout_s} s were over."
        return _end(run, result, message, now_ms)
    if open_attempts or has_more:
        return run
    return _end(run, *_result_of(run, _results(run)), now_ms)


def _end(run: Run, result: Result, message: str, now_ms: int) -> Run:
    return replace(run, stage=Stage.ENDED, result=result, message=message[:MAX_MESSAGE], ended_at_ms=now_ms)


def _result_of(run: Run, results: Mapping[str, Result]) -> tuple[Result, str]:
    """What a run came to: the tasks on which no other depends decide."""
    needed = {other for task in run.tasks for other in task.depends_on}
    leaves = [results[task.key] for task in run.tasks if task.key not in needed]
    told = [
        f"Task {key} {_VERB.get(result, 'failed')}: {run.latest[key].message}"
        for key, result in results.items()
        if result in _VERB
    ]
    if all(result.is_good or result is Result.EXCLUDED for result in leaves):
        is_clean = all(result in {Result.SUCCESS, Result.EXCLUDED} for result in results.values())
        return (Result.SUCCESS if is_clean else Result.SUCCESS_WITH_FAILURES), " ".join(told)
    if Result.LOST in results.values():
        return Result.LOST, " ".join(told)
    if Result.CANCELED in results.values():
        return Result.CANCELED, " ".join(told)
    if Result.TIMEDOUT in results.values() and Result.FAILED not in results.values():
        return Result.TIMEDOUT, " ".join(told)
    return Result.FAILED, " ".join(told)


_VERB = {
    Result.FAILED: "failed",
    Result.TIMEDOUT: "ran out of time",
    Result.CANCELED: "was cancelled",
    Result.LOST: "was lost",
}


def _next_moment(run: Run, retry: Sequence[Attempt], now_ms: int) -> int | None:
    moments = [attempt.not_before_ms for attempt in (*run.attempts, *retry) if attempt.stage is Stage.PENDING]
    if run.timeout_s and run.is_active and not run.is_timed_out:
        moments.append((run.started_at_ms or run.created_at_ms) + run.timeout_s * 1000)
    for attempt in run.attempts:
        limit_s = run.task(attempt.task_key).timeout_s
        if attempt.stage is Stage.RUNNING and limit_s and attempt.started_at_ms is not None:
            moments.append(attempt.started_at_ms + limit_s * 1000)
    return min((moment for moment in moments if moment > now_ms), default=None)
