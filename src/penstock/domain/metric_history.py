"""The past of a served entity's metrics, at falling resolution: a point for each minute of a day, then for ten of them.

A point holds sums and maxima only, so that points add up in any order and grouping: what ten minutes tell is what
their minutes tell together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from penstock.domain.load import NO_TIMES, EntityLoad, Times

MINUTE_S = 60
DAY_S = 86_400
RETENTION_S = {MINUTE_S: DAY_S, 10 * MINUTE_S: 14 * DAY_S}
"""How long points are kept, by their resolution in seconds, the finest first."""


@dataclass(frozen=True, slots=True)
class Point:
    """What happened to a served entity in a stretch of time."""

    at_s: int
    """When it begins, seconds since 1970."""
    client_errors: int = 0
    server_errors: int = 0
    latency: Times = NO_TIMES
    queue: Times = NO_TIMES
    model: Times = NO_TIMES
    watched_s: float = 0.0
    """For how long of it the entity was looked at."""
    replica_s: float = 0.0
    """Ready replicas, each counted for as long as it was seen."""
    most_replicas: int = 0
    measured_s: float = 0.0
    """As `replica_s`, of those whose use of the machine was measured."""
    cpu_percent_s: float = 0.0
    """Per cent of a core, times `measured_s`."""
    memory_percent_s: float = 0.0
    """Per cent of the machine's memory, times `measured_s`."""

    def combined(self, other: "Point") -> "Point":
        """Both together, from when the earlier one began."""
        return Point(
            min(self.at_s, other.at_s),
            self.client_errors + other.client_errors,
            self.server_errors + other.server_errors,
            self.latency.combined(other.latency),
            self.queue.combined(other.queue),
            self.model.combined(other.model),
            self.watched_s + other.watched_s,
            self.replica_s + other.replica_s,
            max(self.most_replicas, other.most_replicas),
            self.measured_s + other.measured_s,
            self.cpu_percent_s + other.cpu_percent_s,
            self.memory_percent_s + other.memory_percent_s,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked and nothing ran."""
        return not self.latency.count and not self.replica_s

    @property
    def load(self) -> EntityLoad:
        """What was asked."""
        return EntityLoad("", "", self.client_errors, self.server_errors, self.latency, self.queue, self.model)


def aligned(at_s: float, resolution_s: int) -> int:
    """When the stretch of that length begins in which a moment lies."""
    return int(at_s // resolution_s) * resolution_s


def downsample(points: Iterable[Point], resolution_s: int) -> list[Point]:
    """The same in stretches of that length, the earliest first; stretches without points are left out."""
    found: dict[int, Point] = {}
    for point in points:
        moved = replace(point, at_s=aligned(point.at_s, resolution_s))
        known = found.get(moved.at_s)
        found[moved.at_s] = moved if known is None else known.combined(moved)
    return [found[at_s] for at_s in sorted(found)]


def is_kept(at_s: int, resolution_s: int, now_s: float) -> bool:
    """Whether a point of that resolution is still kept."""
    return at_s + resolution_s > now_s - RETENTION_S[resolution_s]


def source_resolution(begin_s: float, resolution_s: int, now_s: float) -> int:
    """The resolution of stored points from which a question is answered: the coarsest that is fine enough.

    Points that are finer than what was asked for give the same sums; if those are gone, coarser ones have to do.
    """
    fine_enough = [stored for stored in RETENTION_S if resolution_s % stored == 0]
    kept = [stored for stored in fine_enough if begin_s >= now_s - RETENTION_S[stored]]
    return max(kept, default=max(RETENTION_S))
