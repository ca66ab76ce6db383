"""The load of the fault tests: the official SDK with its own retry, and a raw client without any, at once.

Each call asks something else, so that an answer that belongs to somebody else is seen. Every call and what came of it
goes to the ledger.
"""

import asyncio
import itertools
import json
import threading
import time

import aiohttp
from databricks.sdk.errors import DatabricksError

from support.ledger import Entry, Ledger
from support.stack import QUERY, Stack, wait_for

RAW_WORKERS = 12
SDK_WORKERS = 4
SDK_SHARE = 0.25
"""Of the rate: a call of the SDK costs the machine several times one of the raw client."""


class Pace:
    """Spreads calls evenly: what is late is sent at once, but not what was missed for more than a second."""

    def __init__(self, rate_per_s: float) -> None:
        self._gap_s = 1 / rate_per_s
        self._next_s = time.monotonic()
        self._lock = threading.Lock()

    def wait_s(self) -> float:
        """How long to wait before the next call."""
        with self._lock:
            now_s = time.monotonic()
            self._next_s = max(self._next_s + self._gap_s, now_s - 1)
            return max(self._next_s - now_s, 0)


class TwoClients:
    """Sends in the background until the block ends, which waits for what is in flight."""

    def __init__(self, stack: Stack, endpoint: str, ledger: Ledger, rate_per_s: float = 200) -> None:
        self._stack = stack
        self._endpoint = endpoint
        self._ledger = ledger
        self._pace = {"raw": Pace(rate_per_s * (1 - SDK_SHARE)), "sdk": Pace(rate_per_s * SDK_SHARE)}
        self._asked = itertools.count(1)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=lambda: asyncio.run(self._run_raw()))]
        self._threads += [threading.Thread(target=self._run_sdk) for _ in range(SDK_WORKERS)]
        self._workspace = stack.workspace(retry_timeout_s=300)

    def __enter__(self) -> "TwoClients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._ledger.close()

    @property
    def sent(self) -> int:
        """Calls that have ended."""
        return self._ledger.count

    def go_on(self, calls: int, *, in_all: int = 0, timeout_s: float = 120) -> None:
        """Wait until so many more calls have ended, and so many in all."""
        wanted = max(self.sent + calls, in_all)
        wait_for(lambda: self.sent >= wanted, f"{wanted} calls", timeout_s)

    async def _run_raw(self) -> None:
        async with aiohttp.ClientSession(
            headers=self._stack.headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=120),
        ) as session:

            async def work() -> None:
                while not self._stopping.is_set():
                    await asyncio.sleep(self._pace["raw"].wait_s())
                    self._ledger.write(await self._ask_raw(session, float(next(self._asked))))

            await asyncio.gather(*(work() for _ in range(RAW_WORKERS)))

    async def _ask_raw(self, session: aiohttp.ClientSession, x: float) -> Entry:
        sent_s = time.monotonic()
        url = f"{self._stack.url}{QUERY}/{self._endpoint}/invocations"
        try:
            async with session.post(url, json={"dataframe_records": [{"x": x}]}) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError) as exc:
            return Entry("raw", x, sent_s, time.monotonic() - sent_s, "unknown", f"{type(exc).__name__}: {exc}")
        seconds = time.monotonic() - sent_s
        if response.status != 200:
            return Entry("raw", x, sent_s, seconds, "failed", f"{response.status} {text[:300]}")
        headers = response.headers
        return Entry(
            "raw",
            x,
            sent_s,
            seconds,
            "ok",
            entity=headers["served-model-name"],
            answered=json.loads(text)["predictions"][0],
            request_id=headers["databricks-request-id"],
        )

    def _run_sdk(self) -> None:
        while not self._stopping.is_set():
            time.sleep(self._pace["sdk"].wait_s())
            self._ledger.write(self._ask_sdk(float(next(self._asked))))

    def _ask_sdk(self, x: float) -> Entry:
        sent_s = time.monotonic()
        try:
            answer = self._workspace.serving_endpoints.query(self._endpoint, dataframe_records=[{"x": x}])
        except DatabricksError as exc:
            return Entry("sdk", x, sent_s, time.monotonic() - sent_s, "failed", f"{exc.error_code} {exc}"[:300])
        except (OSError, TimeoutError) as exc:
            return Entry("sdk", x, sent_s, time.monotonic() - sent_s, "unknown", f"{type(exc).__name__}: {exc}"[:300])
        seconds = time.monotonic() - sent_s
        return Entry(
            "sdk",
            x,
            sent_s,
            seconds,
            "ok",
            entity=answer.served_model_name or "",
            answered=(answer.predictions or [None])[0],
        )
