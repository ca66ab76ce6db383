"""An event loop whose time passes at once: it jumps to the next timer instead of waiting for it.

Only for code that takes its time from the loop and talks to nothing outside the process.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _JumpingSelector(selectors.SelectSelector):
    """Never waits; what would have been the wait is added to the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise AssertionError("nothing will ever happen: the test waits for ever")
            self.now_s += max(timeout, 0.0)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop with a clock of its own, which begins at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run_at_once(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function; its sleeps and time-outs take no time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
