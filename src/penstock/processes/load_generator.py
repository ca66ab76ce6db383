"""The load generator as a whole: its processes, started together, and one tally of what came of it."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

import msgspec

from penstock.client.load.plan import Ended, LoadPlan, News, Opened, Progress, Refused, shares
from penstock.client.load.tally import Tally, together

MAX_PROCESSES = 64
_MAX_LINE_BYTES = 1 << 20
_news: msgspec.json.Decoder[News] = msgspec.json.Decoder(News)
OnProgress = Callable[[int, int], None]
"""Called with the number of good answers and of all others so far."""


class LoadFailed(Exception):
    """The load could not be generated, or not to its end."""


def generate_load(plan: LoadPlan, processes: int, on_progress: OnProgress = lambda _good, _bad: None) -> Tally:
    """Send what a plan says from several processes at once.

    Raises:
        LoadFailed: connections cannot be opened, or a process of the generator died.
    """
    return asyncio.run(_generate(shares(plan, processes), on_progress))


async def _generate(plans: Sequence[LoadPlan], on_progress: OnProgress) -> Tally:
    so_far = [Progress(0, 0)] * len(plans)

    async def follow(at: int, sender: _SenderProcess) -> Tally:
        while True:
            match await sender.news():
                case Ended(tally):
                    return tally
                case Progress() as progress:
                    so_far[at] = progress
                    on_progress(sum(one.good for one in so_far), sum(one.bad for one in so_far))
                case other:
                    raise LoadFailed(f"A process of the load generator said {other} out of turn.")

    async with AsyncExitStack() as stack:
        senders = [await stack.enter_async_context(_SenderProcess(plan)) for plan in plans]
        for sender in senders:
            match await sender.news():
                case Refused(reason):
                    raise LoadFailed(f"{plans[0].target.authority}: {reason}.")
                case Opened():
                    pass
                case other:
                    raise LoadFailed(f"A process of the load generator said {other} out of turn.")
        for sender in senders:
            sender.begin()
        return together(await asyncio.gather(*(follow(at, sender) for at, sender in enumerate(senders))))


class _SenderProcess:
    """A child that runs `processes/load_sender.py`; it ends with the block."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan

    async def __aenter__(self) -> "_SenderProcess":
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "penstock.processes.load_sender", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        self._write(msgspec.json.encode(self._plan))
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def begin(self) -> None:
        """Give the word."""
        self._write(b"begin")

    async def news(self) -> News:
        """What it tells next; raises LoadFailed if it has died."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        line = await self._process.stdout.readline()
        if not line:
            raise LoadFailed("A process of the load generator died.")
        return _news.decode(line)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(line + b"\n")
