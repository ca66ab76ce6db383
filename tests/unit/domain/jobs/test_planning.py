"""The next step of a run: dependencies, retries, time limits, cancelling, and what the whole comes to."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.jobs.job import BatchWork, PythonWork, RunIf, Task
from penstock.domain.jobs.planning import (
    Ended,
    Seen,
    Step,
    failed_to_start,
    is_met,
    started,
    step,
    with_attempt,
)
from penstock.domain.jobs.run import MAX_KEPT_ATTEMPTS, Attempt, Result, Run, Stage

GOOD, BAD, LOST = Ended(0, 0), Ended(0, 1, "oh"), Ended(0, None, is_with_stack=True)


def task(key: str, *depends_on: str, **fields: object) -> Task:
    return Task(key, PythonWork("/x.py"), depends_on=depends_on, **fields)  # type: ignore[arg-type]


def run_of(*tasks: Task, **fields: object) -> Run:
    attempts = tuple(Attempt(100 + index, one.key) for index, one in enumerate(tasks))
    return Run(1, "j", "me", "me", tasks, 0, attempts=attempts, started_at_ms=0, **fields)  # type: ignore[arg-type]


class World:
    """Plays the runner and the supervisor: an attempt that is started runs until it is said how it ended."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.now_ms = 0
        self.running: set[int] = set()
        self.told_to_end: set[int] = set()
        self.starts: Counter[int] = Counter()
        self.next_id = 1000

    def turn(self, **ended: Ended) -> Step:
        """A turn, in which the running attempts at these tasks have ended."""
        now = {self.id_of(key): replace(how, at_ms=self.now_ms) for key, how in ended.items()}
        self.running -= now.keys()
        done = step(self.run, Seen(frozenset(self.running), now), self.now_ms)
        self.run = done.run
        for attempt in done.retry:
            self.next_id += 1
            self.run = with_attempt(self.run, replace(attempt, id=self.next_id))
        for attempt_id in done.start:
            self.run = started(self.run, attempt_id, self.now_ms)
            self.running.add(attempt_id)
            self.starts[attempt_id] += 1
        self.told_to_end |= set(done.end)
        return done

    def id_of(self, key: str) -> int:
        return self.run.latest[key].id

    @property
    def at_work(self) -> set[str]:
        return {a.task_key for a in self.run.attempts if a.id in self.running}

    def results(self) -> dict[str, Result | None]:
        return {key: attempt.result for key, attempt in self.run.latest.items()}


def test_p6_5_tasks_begin_once_what_they_depend_on_has_succeeded() -> None:
    world = World(run_of(task("a"), task("b"), task("c", "a", "b")))
    world.turn()
    assert world.at_work == {"a", "b"}
    world.turn(a=GOOD)
    assert world.at_work == {"b"}
    world.turn(b=GOOD)
    assert world.at_work == {"c"}
    world.turn(c=GOOD)
    assert (world.run.stage, world.run.result, world.run.message) == (Stage.ENDED, Result.SUCCESS, "")


def test_p6_5_what_depends_on_a_failure_is_passed_over_and_the_rest_goes_on() -> None:
    world = World(run_of(task("a"), task("b", "a"), task("c", "b"), task("d")))
    world.turn()
    world.turn(a=BAD)
    assert world.results() == {"a": Result.FAILED, "b": Result.UPSTREAM_FAILED, "c": Result.UPSTREAM_FAILED, "d": None}
    assert world.run.is_active
    world.turn(d=GOOD)
    assert (world.run.result, world.run.message) == (Result.FAILED, "Task a failed: oh")


def test_p6_5_a_failure_that_others_make_up_for() -> None:
    world = World(run_of(task("a"), task("mend", "a", run_if=RunIf.AT_LEAST_ONE_FAILED)))
    world.turn()
    world.turn(a=BAD)
    assert world.at_work == {"mend"}
    world.turn(mend=GOOD)
    assert world.run.result is Result.SUCCESS_WITH_FAILURES
    world = World(run_of(task("a"), task("mend", "a", run_if=RunIf.AT_LEAST_ONE_FAILED)))
    world.turn()
    world.turn(a=GOOD)
    assert world.results()["mend"] is Result.EXCLUDED
    assert world.run.result is Result.SUCCESS


S, F, X = Result.SUCCESS, Result.FAILED, Result.EXCLUDED


@pytest.mark.parametrize(
    ("condition", "met", "unmet"),
    [
        (RunIf.ALL_SUCCESS, [[], [S, S]], [[S, F], [S, X]]),
        (RunIf.AT_LEAST_ONE_SUCCESS, [[S, F]], [[F, F], [X]]),
        (RunIf.NONE_FAILED, [[S, X], [S], []], [[S, F], [X]]),
        (RunIf.ALL_DONE, [[F, F], [S], [X], []], []),
        (RunIf.AT_LEAST_ONE_FAILED, [[S, F]], [[S, S], [X]]),
        (RunIf.ALL_FAILED, [[F, F]], [[S, F], [F, X]]),
    ],
)
def test_p6_5_conditions(condition: RunIf, met: list[list[Result]], unmet: list[list[Result]]) -> None:
    assert [is_met(condition, results) for results in met] == [True] * len(met)
    assert [is_met(condition, results) for results in unmet] == [False] * len(unmet)


def test_p6_5_retries_come_later_and_later() -> None:
    world = World(run_of(task("a", max_retries=3)))
    world.turn()
    pauses_ms = []
    for _ in range(3):
        done = world.turn(a=BAD)
        assert done.look_again_ms is not None
        assert not world.running
        pauses_ms.append(done.look_again_ms - world.now_ms)
        world.now_ms = done.look_again_ms - 1
        world.turn()
        assert not world.running, "not before its time"
        world.now_ms += 1
        world.turn()
        assert world.at_work == {"a"}
    assert pauses_ms == [1000, 2000, 4000]
    world.turn(a=BAD)
    assert (world.run.result, len(world.run.attempts)) == (Result.FAILED, 4)
    assert [attempt.number for attempt in world.run.attempts] == [0, 1, 2, 3]


def test_p6_5_the_least_interval_between_attempts() -> None:
    world = World(run_of(task("a", max_retries=1, min_retry_interval_ms=60_000)))
    world.turn()
    world.now_ms = 7_000
    assert world.turn(a=BAD).look_again_ms == 60_000


def test_p6_5_without_end_only_the_newest_attempts_are_kept() -> None:
    world = World(run_of(task("a", max_retries=-1)))
    for _ in range(MAX_KEPT_ATTEMPTS + 5):
        world.now_ms += 100_000
        world.turn()
        world.turn(a=BAD)
    assert len(world.run.attempts) == MAX_KEPT_ATTEMPTS
    assert world.run.latest["a"].number == MAX_KEPT_ATTEMPTS + 5


def test_p6_5_an_attempt_that_takes_too_long_is_ended() -> None:
    for retries, expected in ((False, Result.TIMEDOUT), (True, None)):
        world = World(run_of(task("a", timeout_s=10, max_retries=1, retries_on_timeout=retries)))
        world.turn()
        assert world.turn().look_again_ms == 10_000
        world.now_ms = 10_000
        world.turn()
        assert world.told_to_end == world.running
        world.turn(a=Ended(0, -15, "signal"))
        assert world.run.result is expected
        assert world.run.attempts[0].result is Result.TIMEDOUT


def test_p6_5_a_run_that_takes_too_long_ends_whole() -> None:
    world = World(run_of(task("a", max_retries=5), task("b", "a"), timeout_s=10))
    world.turn()
    world.now_ms = 10_000
    world.turn()
    assert (world.run.stage, world.told_to_end) == (Stage.ENDING, world.running)
    world.turn(a=Ended(0, -9, "signal"))
    assert (world.run.result, world.results()) == (Result.TIMEDOUT, {"a": Result.TIMEDOUT, "b": Result.TIMEDOUT})


def test_p6_5_a_run_that_is_cancelled_ends_whole_and_retries_nothing() -> None:
    world = World(run_of(task("a", max_retries=5), task("b", "a"), task("c")))
    world.turn()
    world.turn(c=BAD)
    world.run = replace(world.run, is_cancelled=True)
    world.turn()
    assert (world.run.stage, world.told_to_end) == (Stage.ENDING, world.running)
    world.turn(a=Ended(0, -15, "signal"))
    assert world.run.result is Result.CANCELED
    assert world.results() == {"a": Result.CANCELED, "b": Result.CANCELED, "c": Result.FAILED}


def test_p6_5_what_went_with_the_stack_is_told_as_such_or_tried_again() -> None:
    world = World(run_of(task("a")))
    world.turn()
    world.turn(a=LOST)
    assert world.run.result is Result.LOST
    world = World(run_of(task("a", max_retries=1)))
    world.turn()
    world.turn(a=LOST)
    world.now_ms = 1000
    world.turn()
    assert world.at_work == {"a"}
    world.turn(a=Ended(0, 0, is_with_stack=True))
    assert world.run.result is Result.SUCCESS, "it had come to its end"


def test_p6_5_a_process_that_never_came_to_be_is_asked_for_again() -> None:
    run = started(step(run_of(task("a")), Seen(), 0).run, 100, 0)
    again = step(run, Seen(unborn={100}), 5)
    assert (again.start, again.run.latest["a"].number) == ((100,), 0)
    cancelled = step(replace(run, is_cancelled=True), Seen(), 5).run
    assert step(cancelled, Seen(unborn={100}), 6).run.result is Result.CANCELED


def test_p6_5_a_task_that_cannot_be_started_fails() -> None:
    world = World(run_of(task("a")))
    world.run = failed_to_start(world.run, 100, "There is no file.", 0)
    world.turn()
    assert (world.run.result, world.run.message) == (Result.FAILED, "Task a failed: There is no file.")


def test_p6_5_a_batch_task_some_of_whose_rows_failed() -> None:
    batch = Task("a", batch=BatchWork("models:/m/1", "s.csv", "t"))
    world = World(run_of(batch, task("b", "a")))
    world.turn()
    world.turn(a=Ended(0, 7))
    assert world.at_work == {"b"}
    world.turn(b=Ended(0, 7, "seven means nothing here"))
    assert world.results() == {"a": Result.SUCCESS_WITH_FAILURES, "b": Result.FAILED}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Task, ...]:
    keys = [f"t{index}" for index in range(draw(st.integers(1, 7)))]
    return tuple(
        task(
            key,
            *draw(st.lists(st.sampled_from(keys[:index]), unique=True, max_size=3) if index else st.just([])),
            run_if=draw(st.sampled_from(RunIf)),
            max_retries=draw(st.integers(0, 2)),
        )
        for index, key in enumerate(keys)
    )


@given(graphs(), st.data())
@settings(max_examples=60, deadline=None)
def test_p6_5_every_graph_comes_to_an_end_and_nothing_is_begun_twice_or_early(
    tasks: tuple[Task, ...], data: st.DataObject
) -> None:
    world = World(run_of(*tasks))
    by_key = {one.key: one for one in tasks}
    for _ in range(200):
        if not world.run.is_active:
            break
        keys = data.draw(st.sets(st.sampled_from(sorted(world.at_work)), min_size=1)) if world.at_work else set()
        world.now_ms += 10_000
        before = world.at_work
        world.turn(**{key: data.draw(st.sampled_from([GOOD, BAD, LOST])) for key in sorted(keys)})
        for key in world.at_work - before:
            for other in by_key[key].depends_on:
                assert world.run.latest[other].stage is Stage.ENDED, "begun before what it depends on was over"
    assert not world.run.is_active
    assert not world.running
    assert set(world.starts.values()) <= {1}
    for one in tasks:
        attempts = [attempt for attempt in world.run.attempts if attempt.task_key == one.key]
        assert 1 <= len(attempts) <= one.max_retries + 1
        assert all(attempt.result is not None for attempt in attempts)
    if all(attempt.result is Result.SUCCESS for attempt in world.run.attempts):
        assert world.run.result is Result.SUCCESS
