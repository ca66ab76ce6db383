"""What a served entity was asked: counts that only grow, and their difference over a window of time."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from penstock.domain.gpu import GpuUsage

WINDOW_S = 60.0
"""The window that metrics describe: the last minute."""
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000)
"""Upper bounds of the latency buckets, milliseconds; one more bucket holds what is beyond."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, many times."""

    buckets: tuple[int, ...] = (0,) * (len(BOUNDS_MS) + 1)
    """How often it took at most the bound of that place, and more than the bound before."""
    sum_ms: float = 0.0

    @property
    def count(self) -> int:
        """How often it was measured."""
        return sum(self.buckets)

    @property
    def mean_ms(self) -> float | None:
        """The mean; None if it was never measured."""
        count = self.count
        return self.sum_ms / count if count else None

    def combined(self, other: "Times", sign: int = 1) -> "Times":
        """Plus another's, or minus them."""
        return Times(
            tuple(a + sign * b for a, b in zip(self.buckets, other.buckets, strict=True)),
            self.sum_ms + sign * other.sum_ms,
        )

    def quantile_ms(self, share: float) -> float | None:
        """What that share of the times was at most, told from the buckets; None if there are none.

        Within a bucket times are taken to be spread evenly. Of what is beyond the last bound, the bound is told.
        """
        wanted = share * self.count
        below = 0
        for index, count in enumerate(self.buckets):
            if count and below + count >= wanted:
                low = BOUNDS_MS[index - 1] if index else 0
                high = BOUNDS_MS[index] if index < len(BOUNDS_MS) else low
                return low + (high - low) * max(wanted - below, 0) / count
            below += count
        return None


NO_TIMES = Times()


@dataclass(frozen=True, slots=True)
class EntityLoad:
    """Requests of one served entity, as one gateway counted them."""

    endpoint: str
    entity: str
    client_errors: int = 0
    server_errors: int = 0
    latency: Times = NO_TIMES
    """From the request's arrival until its answer; one for each request."""
    queue: Times = NO_TIMES
    """From its arrival until a replica began with it, or until it was refused."""
    model: Times = NO_TIMES
    """What the replica took, of those that one answered."""

    @property
    def requests(self) -> int:
        """How many were answered, refusals and failures included."""
        return self.latency.count

    @property
    def gateway_ms(self) -> float:
        """What is left of the time of all requests: the gateway's own, and the way to the replica and back."""
        return max(self.latency.sum_ms - self.queue.sum_ms - self.model.sum_ms, 0.0)

    def combined(self, other: "EntityLoad", sign: int = 1) -> "EntityLoad":
        """Plus another's counts, or minus them."""
        return replace(
            self,
            client_errors=self.client_errors + sign * other.client_errors,
            server_errors=self.server_errors + sign * other.server_errors,
            latency=self.latency.combined(other.latency, sign),
            queue=self.queue.combined(other.queue, sign),
            model=self.model.combined(other.model, sign),
        )


@dataclass(frozen=True, slots=True)
class EntityUsage:
    """What an entity's replicas have and use, on average over them."""

    entity: str
    concurrency: int
    cpu_percent: float | None
    memory_percent: float | None
    replicas: int = 0
    """Those that are ready."""
    gpu: GpuUsage | None = None
    """What their GPUs are used for; None if they have none."""


@dataclass(frozen=True, slots=True)
class GatewayLoad:
    """What one gateway counted beside predictions since it started, and what it holds now."""

    connections: int = 0
    """Of clients, open now."""
    passed_on: dict[str, int] = field(default_factory=dict)
    """Requests that another server answered, by that server."""
    refused: dict[str, int] = field(default_factory=dict)
    """Requests that were refused before anybody was asked, by error code."""
    spooled: int = 0
    """Records that were written to the spool."""
    unspooled: int = 0
    """Records that could not be written."""


def total(loads: Iterable[EntityLoad]) -> list[EntityLoad]:
    """Loads of the same entity added up."""
    sums: dict[tuple[str, str], EntityLoad] = {}
    for load in loads:
        key = (load.endpoint, load.entity)
        sums[key] = sums[key].combined(load) if key in sums else load
    return list(sums.values())
