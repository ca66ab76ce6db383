"""Counts what becomes of calls, for each served entity of each endpoint, and tells the last minute of it.

Every answer counts, so counting changes numbers in place; once a second they are copied into a load that stays.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from weakref import WeakValueDictionary

from penstock.domain.load import BOUNDS_MS, WINDOW_S, EntityLoad, Times
from penstock.wire.frames import execution_us

_CLIENT_ERROR = 400
_MAX_KEPT_BYTES = 64
"""Notes of an execution time alone are shorter; others differ anyway."""
_SERVER_ERROR = 500
_BOUNDS_S = tuple(bound / 1000 for bound in BOUNDS_MS)
_FIRST_BOUND_S = _BOUNDS_S[0]

Key = tuple[str, str]
"""Endpoint and served entity."""


class LoadCounter:
    """Counts of one served entity; they only grow.

    Nearly all times are below the first bound: what is in the other buckets is counted, and the rest is in the first.
    """

    __slots__ = (
        "__weakref__",
        "_begin",
        "_client_errors",
        "_last_model_s",
        "_last_notes",
        "_latency",
        "_latency_s",
        "_model",
        "_model_s",
        "_queue",
        "_queue_s",
        "_requests",
        "_server_errors",
        "_unanswered",
        "is_counting",
        "key",
    )

    def __init__(self, key: Key, begin: "Callable[[LoadCounter], None]") -> None:
        """`begin` is called at the first answer, and at the first after a `rest`."""
        self.key = key
        self._begin = begin
        self._last_notes, self._last_model_s = b"", 0.0
        self.rest()

    def rest(self) -> None:
        """Begin from nothing with the next answer."""
        self.is_counting = False
        self._requests = self._client_errors = self._server_errors = self._unanswered = 0
        self._latency, self._queue, self._model = ([0] * (len(BOUNDS_MS) + 1) for _ in range(3))
        self._latency_s = self._queue_s = self._model_s = 0.0

    def count(self, status: int, total_s: float, queued_s: float | None = None, notes: bytes = b"") -> None:
        """A call was answered.

        Args:
            status: of the answer.
            total_s: from the call's arrival.
            queued_s: until a replica began with it; None if none did.
            notes: what the replica told with its answer; empty if it gave none.
        """
        if not self.is_counting:
            self.is_counting = True
            self._begin(self)
        self._requests += 1
        if status >= _CLIENT_ERROR:
            self._count_error(status)
        self._latency_s += total_s
        if total_s > _FIRST_BOUND_S:
            self._latency[bisect_left(_BOUNDS_S, total_s)] += 1
        queue_s = total_s if queued_s is None else queued_s
        if notes:
            if notes != self._last_notes:  # what was answered in one batch has the same
                self._last_notes = notes if len(notes) <= _MAX_KEPT_BYTES else b""
                self._last_model_s = execution_us(notes) / 1e6
            model_s = self._last_model_s
            self._model_s += model_s
            if model_s > _FIRST_BOUND_S:
                self._model[bisect_left(_BOUNDS_S, model_s)] += 1
            if queue_s > total_s - model_s:
                # Under load a gateway reads that a replica began together with its answer, too late.
                queue_s = total_s - model_s if total_s > model_s else 0.0
        else:
            self._unanswered += 1
        self._queue_s += queue_s
        if queue_s > _FIRST_BOUND_S:
            self._queue[bisect_left(_BOUNDS_S, queue_s)] += 1

    def _count_error(self, status: int) -> None:
        if status >= _SERVER_ERROR:
            self._server_errors += 1
        else:
            self._client_errors += 1

    def load(self) -> EntityLoad:
        """The counts as they are now."""
        endpoint, entity = self.key
        return EntityLoad(
            endpoint,
            entity,
            self._client_errors,
            self._server_errors,
            _times(self._requests, self._latency, self._latency_s),
            _times(self._requests, self._queue, self._queue_s),
            _times(self._requests - self._unanswered, self._model, self._model_s),
        )


def _times(count: int, buckets: list[int], sum_s: float) -> Times:
    """Of so many times, those that are in no later bucket are in the first."""
    return Times((count - sum(buckets), *buckets[1:]), sum_s * 1000)


class LoadMeter:
    """Counts since this gateway started; `look`, called about once a second, remembers how they stood."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[Key, LoadCounter] = WeakValueDictionary()
        """Those that somebody may count with."""
        self._counting: dict[Key, LoadCounter] = {}
        """Those that have counted something in the last minute."""
        self._past: deque[tuple[float, dict[Key, EntityLoad]]] = deque()

    def counter(self, endpoint: str, entity: str) -> LoadCounter:
        """What counts the answers of an entity."""
        key = (endpoint, entity)
        counter = self._known.get(key)
        if counter is None:
            counter = self._known[key] = LoadCounter(key, self._begin)
        return counter

    def _begin(self, counter: LoadCounter) -> None:
        self._counting[counter.key] = counter

    def look(self, now_s: float) -> tuple[list[EntityLoad], list[EntityLoad]]:
        """The load of every entity that was asked anything: in the last minute, and since the last look."""
        loads = {key: counter.load() for key, counter in self._counting.items()}
        last = self._past[-1][1] if self._past else {}
        self._past.append((now_s, loads))
        while len(self._past) > 1 and self._past[1][0] <= now_s - WINDOW_S:
            self._past.popleft()
        at_s, before = self._past[0]
        if at_s > now_s - WINDOW_S:
            before = {}  # this gateway is younger than a minute
        recent = _since(before, loads)
        news = [load for load in _since(last, loads).values() if load.requests]
        for key in [key for key, load in recent.items() if not load.requests]:
            self._counting.pop(key).rest()
            del recent[key]
            for _, past in self._past:
                past.pop(key, None)
        return list(recent.values()), news


def _since(before: dict[Key, EntityLoad], loads: dict[Key, EntityLoad]) -> dict[Key, EntityLoad]:
    return {key: load.combined(before[key], -1) if key in before else load for key, load in loads.items()}
