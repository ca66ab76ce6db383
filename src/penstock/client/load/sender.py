"""The work of one process of a load generator, on an event loop of its own."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter_ns

from penstock.client.load.connection import Connection
from penstock.client.load.plan import LoadPlan
from penstock.client.load.tally import Tally, finished

_TICK_S = 0.2
_AGAIN_S = 0.05
_OPENING_AT_ONCE = 100
"""As many as a server's backlog surely takes."""


class Sender:
    """Keeps every connection of a plan at work until it is over."""

    def __init__(self, plan: LoadPlan) -> None:
        self.request = plan.request
        self.tally = Tally()
        self._plan = plan
        self._tls = ssl.create_default_context() if plan.target.is_tls else None
        self._left = plan.requests
        self._ends_ns: int | None = None
        self._last_ns = 0
        self._is_over = asyncio.Event()
        self._open: set[Connection] = set()
        self._reopening: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Open the connections.

        Raises:
            OSError: the server takes none, or not so many.
        """
        gate = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def one() -> None:
            async with gate, asyncio.timeout(self._plan.timeout_s):
                await self._connect()

        await asyncio.gather(*(one() for _ in range(self._plan.connections)))

    async def run(self, on_tick: Callable[[Tally], None]) -> Tally:
        """Send until the plan is over and everything is answered or has failed."""
        began_ns, cpu_ns = perf_counter_ns(), time.process_time_ns()
        self._last_ns = began_ns
        if self._plan.seconds is not None:
            self._ends_ns = began_ns + int(self._plan.seconds * 1e9)
        for connection in list(self._open):
            connection.send()
        while self._open or self._reopening:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._is_over.wait()
            self._give_up_on_late_answers()
            on_tick(self.tally)
        return finished(self.tally, max(self._last_ns - began_ns, 1), time.process_time_ns() - cpu_ns)

    def may_send(self) -> bool:
        """Whether there is one more request to send; it counts as sent then."""
        if not self._has_more():
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def on_answer(self, status: int, ns: int) -> None:
        """A request was answered."""
        self._last_ns = perf_counter_ns()
        self.tally.answered(status, ns)

    def on_failure(self, why: str) -> None:
        """A request got no answer."""
        self._last_ns = perf_counter_ns()
        self.tally.failed(why)

    def on_closed(self, connection: Connection, *, is_to_reopen: bool) -> None:
        """A connection is gone; another one goes on in its place, if there is something left to do."""
        self._open.discard(connection)
        if is_to_reopen and self._has_more():
            task = asyncio.get_running_loop().create_task(self._reopen())
            self._reopening.add(task)
            task.add_done_callback(self._on_reopened)
        self._look_whether_it_is_over()

    async def _reopen(self) -> None:
        """Open a connection and go on; as long as none can be opened, each attempt is a request that failed."""
        while self._has_more():
            try:
                async with asyncio.timeout(self._plan.timeout_s):
                    connection = await self._connect()
            except OSError:
                if self.may_send():
                    self.on_failure("cannot connect")
                await asyncio.sleep(_AGAIN_S)
            else:
                connection.send()
                return

    def _on_reopened(self, task: asyncio.Task[None]) -> None:
        self._reopening.discard(task)
        self._look_whether_it_is_over()

    def _look_whether_it_is_over(self) -> None:
        if not self._open and not self._reopening:
            self._is_over.set()

    def _has_more(self) -> bool:
        if self._ends_ns is not None:
            return perf_counter_ns() < self._ends_ns
        return bool(self._left)

    async def _connect(self) -> Connection:
        target = self._plan.target
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(self), target.host, target.port, ssl=self._tls
        )
        self._open.add(connection)
        self.tally.connections += 1
        return connection

    def _give_up_on_late_answers(self) -> None:
        too_early_ns = perf_counter_ns() - int(self._plan.timeout_s * 1e9)
        for connection in list(self._open):
            if connection.sent_ns and connection.sent_ns < too_early_ns:
                connection.give_up("timed out")
