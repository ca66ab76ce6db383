"""Calls whose ids are known, by a client without any retry, through whatever happens to the stack; and their rows.

Each call asks something else and says its number as `client_request_id`, so that its row can be told from all others.
What came of it goes to the ledger.
"""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from penstock.faults import POINTS
from support.ledger import Entry, Ledger
from support.stack import QUERY, wait_for

LOG_POINTS = tuple(
    name for name, point in POINTS.items() if point.process == "table-writer" or name.startswith("spool-")
)
"""Where a crash may fall between an answer and its row."""
WORKERS = 16
REFUSED = "not sent"
"""What the ledger is told of a call whose connection was refused: no byte of it left."""


class KnownCalls:
    """Sends in the background, as fast as it is answered, until the block ends, which waits for what is in flight."""

    def __init__(self, url: str, token: str, endpoint: str, ledger: Ledger) -> None:
        self._url = f"{url}{QUERY}/{endpoint}/invocations"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._ledger = ledger
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.answered = 0

    def __enter__(self) -> "KnownCalls":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._ledger.close()

    def go_on(self, calls: int, timeout_s: float = 120) -> None:
        """Wait until so many more calls have been answered."""
        wanted = self.answered + calls
        wait_for(lambda: self.answered >= wanted, f"{wanted} answers", timeout_s + calls / 50)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=120),
        ) as session:
            await asyncio.gather(*(self._work(session) for _ in range(WORKERS)))

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            entry = await self._ask(session, next(self._numbers))
            self._ledger.write(entry)
            if entry.outcome == "ok":
                self.answered += 1
            else:
                await asyncio.sleep(0.05)  # what is down is not hammered

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> Entry:
        sent_s = time.monotonic()
        body = {"dataframe_records": [{"x": float(number)}], "client_request_id": str(number)}
        try:
            async with session.post(self._url, json=body) as response:
                text = await response.text()
        except aiohttp.ClientConnectorError as exc:
            return Entry("known", number, sent_s, time.monotonic() - sent_s, "failed", f"{REFUSED}: {exc}")
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return Entry("known", number, sent_s, time.monotonic() - sent_s, "unknown", type(exc).__name__)
        seconds, request_id = time.monotonic() - sent_s, response.headers.get("databricks-request-id", "")
        if response.status != 200:
            told = f"{response.status} {text[:300]}"
            return Entry("known", number, sent_s, seconds, "failed", told, request_id=request_id)
        entity, answered = response.headers["served-model-name"], json.loads(text)["predictions"][0]
        return Entry("known", number, sent_s, seconds, "ok", "", entity, answered, request_id)


@dataclass(frozen=True)
class Logged:
    """What a table has of calls, held against what their clients saw."""

    rows: int
    lost: list[str]
    """Calls that were answered and have no row."""
    doubled: list[str]
    """Calls that have more than one."""
    wrong: list[str]
    """Calls whose row tells of another request, or of another status."""
    unheard_of: list[str]
    """Rows of calls that were never sent."""
    unknown_logged: int
    """Calls whose connection broke that have their row all the same."""

    def document(self) -> dict[str, Any]:
        """For the report."""
        return {
            "rows": self.rows,
            "lost": len(self.lost),
            "doubled": len(self.doubled),
            "wrong": len(self.wrong),
            "unheard_of": len(self.unheard_of),
            "unknown_logged": self.unknown_logged,
        }


def rows_of_calls(table: Path) -> list[tuple[str, str, int]]:
    """The client's id, the request's id and the status of every row of a payload table."""
    reader = QueryBuilder().register("t", DeltaTable(str(table)))
    found = pa.table(reader.execute("SELECT client_request_id, databricks_request_id, status_code FROM t"))
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def hold_against(rows: list[tuple[str, str, int]], entries: list[Entry]) -> Logged:
    """Count what is missing, twice there, or not as it was seen.

    Args:
        rows: of the table.
        entries: of the ledger.
    """
    found = {call: (request_id, status) for call, request_id, status in rows}
    counts = Counter(call for call, _, _ in rows)
    answered = {str(int(e.asked)): e for e in entries if e.request_id}
    unknown = {str(int(e.asked)) for e in entries if e.outcome == "unknown"}
    ids = Counter(request_id for _, request_id, _ in rows)
    return Logged(
        rows=len(rows),
        lost=[call for call in answered if call not in found],
        doubled=[call for call, count in counts.items() if count > 1] + [i for i, count in ids.items() if count > 1],
        wrong=[call for call, entry in answered.items() if call in found and not _is_of(entry, *found[call])],
        unheard_of=[call for call in found if call not in answered and call not in unknown],
        unknown_logged=len(unknown & found.keys()),
    )


def _is_of(entry: Entry, request_id: str, status: int) -> bool:
    seen = 200 if entry.outcome == "ok" else int(entry.told.split()[0])
    return (entry.request_id, seen) == (request_id, status)
