"""Time limits of calls: what must happen at a time unless it is cancelled, without a timer for each.

Calls of one limit become due in the order in which they came. So each limit has a lane, first come first served, and
one timer for all of the lane, which looks at its first and waits for that one next.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadline(Generic[T]):
    """The time limit of one thing."""

    __slots__ = ("_lane", "_when_s", "thing")

    def __init__(self, lane: "_Lane[T]", when_s: float, thing: T) -> None:
        self._lane = lane
        self._when_s = when_s
        self.thing = thing

    def when(self) -> float:
        """The time, by the loop's clock."""
        return self._when_s

    def cancel(self) -> None:
        """It will not happen, and the thing is no longer held."""
        self._lane.waiting.pop(self, None)

    def cancelled(self) -> bool:
        """Whether it was cancelled, or has happened."""
        return self not in self._lane.waiting


class Deadlines(Generic[T]):
    """The time limits of many things; `expire` is called with each that comes to its own."""

    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self._lanes: dict[float, _Lane[T]] = {}

    def add(self, limit_s: float, thing: T) -> Deadline[T]:
        """Have a thing expire after so many seconds."""
        lane = self._lanes.get(limit_s)
        if lane is None:
            self._lanes = {known: lane for known, lane in self._lanes.items() if lane.waiting}
            lane = self._lanes[limit_s] = _Lane(self._expire)
        when_s = lane.loop.time() + limit_s
        deadline = Deadline(lane, when_s, thing)
        lane.waiting[deadline] = None
        if lane.timer is None:
            lane.look_at(when_s)
        return deadline

    def close(self) -> None:
        """Nothing expires any more."""
        for lane in self._lanes.values():
            lane.close()


class _Lane(Generic[T]):
    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[Deadline[T], None] = {}
        """The first is due first."""
        self.timer: asyncio.TimerHandle | None = None

    def look_at(self, when_s: float) -> None:
        self.timer = self.loop.call_at(when_s, self._look)

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.waiting.clear()

    def _look(self) -> None:
        self.timer = None
        now_s = self.loop.time()
        due = []
        for deadline in self.waiting:
            if deadline.when() > now_s:
                self.look_at(deadline.when())
                break
            due.append(deadline)
        for deadline in due:
            if not deadline.cancelled():  # by one that expired before it
                deadline.cancel()
                self._expire(deadline.thing)
