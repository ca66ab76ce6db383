"""The queue of names: no duplicates, no lost changes, one worker a name, back-off. Time is the loop's own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from penstock.control.queue import KeyedQueue
from unit.clock import run_at_once


class Work:
    """Records every turn; what happens in one is set by the test."""

    def __init__(self, does: Callable[[str], Awaitable[float | None]] | None = None) -> None:
        self._does = does
        self.turns: list[tuple[str, float]] = []
        self.running: set[str] = set()
        self.most_at_once = 0

    async def __call__(self, name: str) -> float | None:
        assert name not in self.running, "a name has one worker at a time"
        self.running.add(name)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.turns.append((name, asyncio.get_running_loop().time()))
        try:
            return None if self._does is None else await self._does(name)
        finally:
            self.running.discard(name)

    def times_of(self, name: str) -> list[float]:
        """When the name was worked on."""
        return [round(at, 6) for turn, at in self.turns if turn == name]


def run(work: Work, script: Callable[[KeyedQueue], Awaitable[None]]) -> None:
    """Run a queue while the script lasts."""

    async def main() -> None:
        queue = KeyedQueue(work)
        task = asyncio.create_task(queue.run())
        await script(queue)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_at_once(main)


def test_a_name_that_is_added_often_is_worked_on_once() -> None:
    work = Work()

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a", "b", "a"])
        queue.add(["a"])
        await asyncio.sleep(1)

    run(work, script)
    assert sorted(name for name, _ in work.turns) == ["a", "b"]


def test_a_change_during_the_work_leads_to_exactly_one_more_turn() -> None:
    async def slowly(_: str) -> None:
        await asyncio.sleep(5)

    work = Work(slowly)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(1)
        queue.add(["a"])
        queue.add(["a"])
        await asyncio.sleep(20)

    run(work, script)
    assert work.times_of("a") == [0, 5]


def test_a_name_that_takes_long_does_not_hold_up_the_others() -> None:
    async def slowly(_: str) -> None:
        await asyncio.sleep(5)

    work = Work(slowly)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(1)
        queue.add(["b"])
        await asyncio.sleep(20)

    run(work, script)
    assert work.times_of("b") == [1]
    assert work.most_at_once == 2


def test_work_may_ask_to_be_called_again() -> None:
    delays = iter([3.0, 0.0, None])

    async def again(_: str) -> float | None:
        return next(delays)

    work = Work(again)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(100)

    run(work, script)
    assert work.times_of("a") == [0, 3, 3]


def test_an_earlier_turn_replaces_the_one_that_was_asked_for() -> None:
    delays = iter([10.0, None, None])

    async def again(_: str) -> float | None:
        return next(delays)

    work = Work(again)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(4)
        queue.add(["a"])
        await asyncio.sleep(100)

    run(work, script)
    assert work.times_of("a") == [0, 4]


def test_failures_are_tried_again_after_delays_that_double(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: str) -> None:
        raise RuntimeError("boom")

    work = Work(fails)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(130)

    with caplog.at_level(logging.CRITICAL):
        run(work, script)
    times = work.times_of("a")
    waits = [round(later - earlier, 6) for earlier, later in pairwise(times)]
    assert waits[:10] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30]


def test_a_success_ends_the_back_off_and_a_failure_of_one_name_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter(["fails", "fails", "works", "fails", "works"])

    async def sometimes(name: str) -> None:
        if name == "a" and next(outcomes) == "fails":
            raise RuntimeError("boom")

    work = Work(sometimes)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a", "b"])
        await asyncio.sleep(10)
        queue.add(["a"])
        await asyncio.sleep(10)

    with caplog.at_level(logging.CRITICAL):
        run(work, script)
    assert work.times_of("a") == [0, 0.2, 0.6, 10, 10.2]
    assert work.times_of("b") == [0]


def test_a_failure_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: str) -> None:
        raise RuntimeError("boom")

    async def script(queue: KeyedQueue) -> None:
        queue.add(["feed-ads"])
        await asyncio.sleep(0.1)

    run(Work(fails), script)
    (record,) = caplog.records
    assert "feed-ads" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "boom"


def test_a_new_change_does_not_wait_for_the_back_off(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_: str) -> None:
        raise RuntimeError("boom")

    work = Work(fails)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a"])
        await asyncio.sleep(0.1)
        queue.add(["a"])
        await asyncio.sleep(0.3)

    with caplog.at_level(logging.CRITICAL):
        run(work, script)
    assert work.times_of("a") == [0, 0.1]


def test_cancelling_the_queue_cancels_what_it_works_on() -> None:
    ended: list[str] = []

    async def for_ever(name: str) -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append(name)

    async def script(queue: KeyedQueue) -> None:
        queue.add(["a", "b"])
        await asyncio.sleep(1)

    run(Work(for_ever), script)
    assert sorted(ended) == ["a", "b"]
