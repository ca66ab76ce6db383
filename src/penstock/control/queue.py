"""A queue of names: no duplicates, one worker a name at a time, delays and back-off.

A name that is added while it is being worked on is worked on once more afterwards, so that no change is missed. A
name whose work failed comes back after a delay that doubles with every failure in a row.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

_FIRST_BACK_OFF_S = 0.2
_MAX_BACK_OFF_S = 30.0

_log = logging.getLogger(__name__)


class KeyedQueue:
    """Runs `work(name)` for every name that was added."""

    def __init__(self, work: Callable[[str], Awaitable[float | None]]) -> None:
        """`work` returns seconds after which the name should be looked at again, or None."""
        self._work = work
        self._dirty: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: set[str] = set()
        self._wake = asyncio.Event()

    def add(self, names: Iterable[str]) -> None:
        """Have these names worked on soon."""
        self._dirty.update(names)
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; names in parallel, each name in order."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for name in self._dirty - self._running:
                    self._dirty.discard(name)
                    self._running.add(name)
                    group.create_task(self._work_on(name), name=f"reconcile {name}")

    async def _work_on(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        try:
            again_s = await self._work(name)
            self._failures.pop(name, None)
        except Exception:  # noqa: BLE001 - the one place where a loop catches broadly: log and back off
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            again_s = min(_FIRST_BACK_OFF_S * 2.0 ** min(failures - 1, 16), _MAX_BACK_OFF_S)
            _log.exception("work on %s failed; again in %.1f s", name, again_s)
        self._running.discard(name)
        if again_s is not None:
            self._timers[name] = asyncio.get_running_loop().call_later(again_s, self.add, (name,))
        self._wake.set()
