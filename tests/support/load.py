"""Load from a raw client without any retry: every outcome is kept, none is forgiven."""

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from support.stack import QUERY, ROW, Stack


@dataclass
class Outcomes:
    """What came of the requests that were sent."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return sum(self.statuses.values())

    @property
    def failed(self) -> dict[int | str, int]:
        return {status: count for status, count in self.statuses.items() if status != 200}


ECHO = {"dataframe_records": [ROW]}


async def send_one(session: aiohttp.ClientSession, url: str, outcomes: Outcomes, body: object = ECHO) -> None:
    """One request; a broken connection counts under the name of its exception."""
    try:
        async with session.post(url, json=body) as response:
            document = await response.json()
            outcomes.statuses[response.status] += 1
            if response.status == 200 and body is ECHO:
                outcomes.versions[document["predictions"][0]["version"]] += 1
    except (aiohttp.ClientError, OSError) as exc:
        outcomes.statuses[type(exc).__name__] += 1


def session_of(stack: Stack) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers=stack.headers,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=120),
    )


class Load:
    """`workers` clients that send one request after the other in the background, until the block ends."""

    def __init__(self, stack: Stack, endpoint: str, workers: int = 8, body: object = ECHO) -> None:
        self._stack = stack
        self._body = body
        self._url = f"{stack.url}{QUERY}/{endpoint}/invocations"
        self._workers = workers
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.outcomes = Outcomes()

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    async def _run(self) -> None:
        async with session_of(self._stack) as session:

            async def work() -> None:
                while not self._stopping.is_set():
                    await send_one(session, self._url, self.outcomes, self._body)

            await asyncio.gather(*(work() for _ in range(self._workers)))


def burst(stack: Stack, endpoint: str, count: int) -> Outcomes:
    """`count` requests, all in flight at once."""
    outcomes = Outcomes()

    async def run() -> None:
        async with session_of(stack) as session:
            url = f"{stack.url}{QUERY}/{endpoint}/invocations"
            await asyncio.gather(*(send_one(session, url, outcomes) for _ in range(count)))

    asyncio.run(run())
    return outcomes
