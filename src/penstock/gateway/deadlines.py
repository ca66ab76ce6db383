"""Time limits of calls: what must happen at a time unless it is cancelled, without a timer for each.

Calls of one limit become due in the order in which they came. So each limit has a lane, first come first served, and
one timer for all of the lane, which looks at its first and waits for that one next.
"""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """The time limits of many things; `expire` is called with each that comes to its own."""

    def __init__(self, expire: Callable[[T], None]) -> None:
        self._expire = expire
        self._lanes: dict[float, Lane[T]] = {}

    def add(self, limit_s: float, thing: T) -> "Lane[T]":
        """Have a thing expire after so many seconds; the lane can cancel that."""
        lane = self._lanes.get(limit_s)
        if lane is None:
            self._lanes = {known: lane for known, lane in self._lanes.items() if lane}
            lane = self._lanes[limit_s] = Lane(self._expire)
        when_s = lane[thing] = lane.loop.time() + limit_s
        if lane.timer is None:
            lane.look_at(when_s)
        return lane

    def close(self) -> None:
        """Nothing expires any more."""
        for lane in self._lanes.values():
            lane.close()


class Lane(dict[T, float]):
    """Things of one limit and when they are due; the first is due first. What is taken out does not expire."""

    def __init__(self, expire: Callable[[T], None]) -> None:
        super().__init__()
        self._expire = expire
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def look_at(self, when_s: float) -> None:
        """See at that time what is due."""
        self.timer = self.loop.call_at(when_s, self._look)

    def close(self) -> None:
        """Nothing in it expires any more."""
        if self.timer is not None:
            self.timer.cancel()
        self.clear()

    def _look(self) -> None:
        self.timer = None
        now_s = self.loop.time()
        due = []
        for thing, when_s in self.items():
            if when_s > now_s:
                self.look_at(when_s)
                break
            due.append(thing)
        for thing in due:
            if self.pop(thing, None) is not None:  # else it was taken out by one that expired before it
                self._expire(thing)


@dataclass(frozen=True, slots=True)
class Deadline(Generic[T]):
    """The time limit of one thing."""

    lane: Lane[T]
    thing: T

    def when(self) -> float:
        """The time, by the loop's clock; 0 if it will not come."""
        return self.lane.get(self.thing, 0.0)

    def cancel(self) -> None:
        """It will not come."""
        self.lane.pop(self.thing, None)

    def cancelled(self) -> bool:
        """Whether it was cancelled, or has come."""
        return self.thing not in self.lane
