"""Counts what becomes of calls, for each served entity of each endpoint, and tells the last minute of it."""

from collections import deque

from penstock.domain.load import WINDOW_S, EntityLoad


class LoadMeter:
    """Counts since this gateway started; `last_minute`, called about once a second, remembers how they stood."""

    def __init__(self) -> None:
        self._loads: dict[tuple[str, str], EntityLoad] = {}
        self._past: deque[tuple[float, dict[tuple[str, str], EntityLoad]]] = deque()

    def record(self, endpoint: str, entity: str, status: int, elapsed_s: float) -> None:
        """One call was answered."""
        key = (endpoint, entity)
        load = self._loads.get(key) or EntityLoad(endpoint, entity)
        self._loads[key] = load.counting(status, elapsed_s * 1000)

    def last_minute(self, now_s: float) -> list[EntityLoad]:
        """The load of every entity that was asked anything in the last minute."""
        self._past.append((now_s, dict(self._loads)))
        while len(self._past) > 1 and self._past[1][0] <= now_s - WINDOW_S:
            self._past.popleft()
        at_s, before = self._past[0]
        if at_s > now_s - WINDOW_S:
            before = {}  # this gateway is younger than a minute
        recent = [load.combined(before[key], -1) if key in before else load for key, load in self._loads.items()]
        idle = {(load.endpoint, load.entity) for load in recent if not load.requests}
        for key in idle:
            del self._loads[key]  # asked again, it counts anew from nothing
            for _, past in self._past:
                past.pop(key, None)
        return [load for load in recent if load.requests]
