"""Writes the past of metrics: looks at every served entity now and then, and keeps a point for each minute.

What was asked is counted by the gateways and told once a second; what replicas use is seen here. A minute that cannot
be written is lost, and nothing waits for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from penstock.control.load import Loads
from penstock.control.metrics import Metrics
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import PenstockError
from penstock.domain.load import EntityUsage
from penstock.domain.metric_history import MINUTE_S, Point, aligned, downsample, source_resolution
from penstock.stores.database import Database
from penstock.stores.metric_points import MetricPoints, Owner

_LOOK_EVERY_S = 5.0
_DROP_EVERY_S = 600

_log = logging.getLogger(__name__)


class Counter(Protocol):
    """Counts something of endpoints."""

    def keep(self, endpoints: Sequence[Endpoint]) -> None:
        """Forget those that are not among these."""


class MetricHistory:
    """The past of all endpoints' metrics."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        loads: Loads,
        points: MetricPoints,
        counters: Sequence[Counter],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`counters` are told now and then which endpoints there are."""
        self._database = database
        self._metrics = metrics
        self._loads = loads
        self._points = points
        self._counters = counters
        self._now_s = now_s
        self._seen: dict[Owner, Point] = {}
        """Of the minute that has not been written."""
        self._looked_s = now_s()
        self._minute_s = aligned(self._looked_s, MINUTE_S)
        self._dropped_s = 0.0

    async def run(self) -> None:
        """Look and write until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                await self._look()
            except PenstockError as exc:
                _log.warning("the metrics of a minute are lost: %s", exc)

    async def _look(self) -> None:
        now_s = self._now_s()
        endpoints = self._database.endpoints()
        elapsed_s, self._looked_s = min(max(now_s - self._looked_s, 0.0), MINUTE_S), now_s
        for endpoint in endpoints:
            for usage in self._metrics.usages(endpoint):
                self._note((endpoint.id, usage.entity), _watched(self._minute_s, usage, elapsed_s))
        if aligned(now_s, MINUTE_S) != self._minute_s:
            minute_s, self._minute_s = self._minute_s, aligned(now_s, MINUTE_S)
            await asyncio.to_thread(self._points.add, self._taken(endpoints, minute_s))
            for counter in self._counters:
                counter.keep(endpoints)
        if abs(now_s - self._dropped_s) >= _DROP_EVERY_S:
            self._dropped_s = now_s
            await asyncio.to_thread(self._points.drop, {endpoint.id for endpoint in endpoints}, now_s)

    def close(self) -> None:
        """Write what there is of this minute; what comes after a restart is added to it."""
        try:
            self._points.add(self._taken(self._database.endpoints(), self._minute_s))
        except PenstockError as exc:
            _log.warning("the metrics of this minute are lost: %s", exc)
        self._points.close()

    def past(
        self, endpoint: Endpoint, begin_s: int | None, end_s: int | None, resolution_s: int | None
    ) -> tuple[int, dict[str, list[Point]]]:
        """The points of an endpoint's entities in a stretch of time, and the resolution that they have, in seconds.

        Args:
            endpoint: whose.
            begin_s: when it begins, seconds since 1970; by default a day before it ends.
            end_s: when it ends; now by default.
            resolution_s: how long each point is to be; the finest that there is by default.

        Raises:
            TemporarilyUnavailable: they cannot be read now.
        """
        now_s = self._now_s()
        end = end_s if end_s is not None else int(now_s) + 1
        begin = begin_s if begin_s is not None else end - 24 * 60 * MINUTE_S
        wanted_s = resolution_s or source_resolution(begin, MINUTE_S, now_s)
        stored_s = source_resolution(begin, wanted_s, now_s)
        told_s = max(wanted_s, stored_s)
        found = self._points.points(endpoint.id, stored_s, aligned(begin, told_s), end)
        return told_s, {entity: downsample(points, told_s) for entity, points in found.items()}

    def _note(self, owner: Owner, point: Point) -> None:
        known = self._seen.get(owner)
        self._seen[owner] = point if known is None else known.combined(point)

    def _taken(self, endpoints: list[Endpoint], minute_s: int) -> list[tuple[Owner, Point]]:
        """What is to be written of a minute: what was seen, and what gateways told."""
        ids = {endpoint.name: endpoint.id for endpoint in endpoints}
        for load in self._loads.take_news():
            if load.endpoint in ids:
                asked = Point(minute_s, load.client_errors, load.server_errors, load.latency, load.queue, load.model)
                self._note((ids[load.endpoint], load.entity), asked)
        seen, self._seen = self._seen, {}
        return [(owner, point) for owner, point in seen.items() if not point.is_empty]


def _watched(minute_s: int, usage: EntityUsage, elapsed_s: float) -> Point:
    replica_s = usage.replicas * elapsed_s
    measured_s = replica_s if usage.cpu_percent is not None and usage.memory_percent is not None else 0.0
    return Point(
        minute_s,
        watched_s=elapsed_s,
        replica_s=replica_s,
        most_replicas=usage.replicas,
        measured_s=measured_s,
        cpu_percent_s=(usage.cpu_percent or 0.0) * measured_s,
        memory_percent_s=(usage.memory_percent or 0.0) * measured_s,
    )
