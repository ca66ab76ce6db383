"""Counts what becomes of calls, for each served entity of each endpoint, and tells the last minute of it.

Every answer counts, so counting changes numbers in place; once a second they are copied into a load that stays.
"""

from bisect import bisect_left
from collections import deque

from penstock.domain.load import BOUNDS_MS, WINDOW_S, EntityLoad

_CLIENT_ERROR = 400
_SERVER_ERROR = 500


class LoadCounter:
    """Counts of one served entity; they only grow."""

    __slots__ = ("_buckets", "_client_errors", "_endpoint", "_entity", "_server_errors", "_sum_ms")

    def __init__(self, endpoint: str, entity: str) -> None:
        self._endpoint = endpoint
        self._entity = entity
        self._client_errors = 0
        self._server_errors = 0
        self._buckets = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def count(self, status: int, elapsed_ms: float) -> None:
        """One call was answered."""
        if status >= _SERVER_ERROR:
            self._server_errors += 1
        elif status >= _CLIENT_ERROR:
            self._client_errors += 1
        self._buckets[bisect_left(BOUNDS_MS, elapsed_ms)] += 1
        self._sum_ms += elapsed_ms

    def load(self) -> EntityLoad:
        """The counts as they are now."""
        return EntityLoad(
            self._endpoint,
            self._entity,
            sum(self._buckets),
            self._client_errors,
            self._server_errors,
            tuple(self._buckets),
            self._sum_ms,
        )


class LoadMeter:
    """Counts since this gateway started; `last_minute`, called about once a second, remembers how they stood."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], LoadCounter] = {}
        self._past: deque[tuple[float, dict[tuple[str, str], EntityLoad]]] = deque()

    def record(self, endpoint: str, entity: str, status: int, elapsed_s: float) -> None:
        """One call was answered."""
        counter = self._counters.get((endpoint, entity))
        if counter is None:
            counter = self._counters[endpoint, entity] = LoadCounter(endpoint, entity)
        counter.count(status, elapsed_s * 1000)

    def last_minute(self, now_s: float) -> list[EntityLoad]:
        """The load of every entity that was asked anything in the last minute."""
        loads = {key: counter.load() for key, counter in self._counters.items()}
        self._past.append((now_s, loads))
        while len(self._past) > 1 and self._past[1][0] <= now_s - WINDOW_S:
            self._past.popleft()
        at_s, before = self._past[0]
        if at_s > now_s - WINDOW_S:
            before = {}  # this gateway is younger than a minute
        recent = {key: load.combined(before[key], -1) if key in before else load for key, load in loads.items()}
        for key in [key for key, load in recent.items() if not load.requests]:
            del self._counters[key], recent[key]  # asked again, it counts anew from nothing
            for _, past in self._past:
                past.pop(key, None)
        return list(recent.values())
