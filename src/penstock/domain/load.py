"""What a served entity was asked: counts that only grow, and their difference over a window of time."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

WINDOW_S = 60.0
"""The window that metrics describe: the last minute."""
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000)
"""Upper bounds of the latency buckets, milliseconds; one more bucket holds what is beyond."""


@dataclass(frozen=True, slots=True)
class EntityLoad:
    """Requests of one served entity, as one gateway counted them since it started."""

    endpoint: str
    entity: str
    requests: int = 0
    client_errors: int = 0
    server_errors: int = 0
    buckets: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)
    sum_ms: float = 0.0

    def combined(self, other: "EntityLoad", sign: int = 1) -> "EntityLoad":
        """Plus another's counts, or minus them."""
        return replace(
            self,
            requests=self.requests + sign * other.requests,
            client_errors=self.client_errors + sign * other.client_errors,
            server_errors=self.server_errors + sign * other.server_errors,
            buckets=tuple(a + sign * b for a, b in zip(self.buckets, other.buckets, strict=True)),
            sum_ms=self.sum_ms + sign * other.sum_ms,
        )


@dataclass(frozen=True, slots=True)
class EntityUsage:
    """What an entity's replicas have and use, on average over them."""

    entity: str
    concurrency: int
    cpu_percent: float | None
    memory_percent: float | None


def total(loads: Iterable[EntityLoad]) -> list[EntityLoad]:
    """Loads of the same entity added up."""
    sums: dict[tuple[str, str], EntityLoad] = {}
    for load in loads:
        key = (load.endpoint, load.entity)
        sums[key] = sums[key].combined(load) if key in sums else load
    return list(sums.values())
