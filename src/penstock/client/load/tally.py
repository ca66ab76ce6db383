"""What came of a load: every request that was sent is in it once, as an answer of some status or as a failure."""

from collections.abc import Iterable

import msgspec

from penstock.client.load.latencies import Latencies

_FIRST_REFUSAL = 300


class Tally(msgspec.Struct):
    """Of one process, or of all of them."""

    statuses: dict[int, int] = {}
    failures: dict[str, int] = {}
    """Requests without an answer, by what happened."""
    connections: int = 0
    """How often one was opened: more than were asked for if the server closes them."""
    latencies: Latencies = msgspec.field(default_factory=Latencies)
    """Of answers of class 2xx."""
    elapsed_ns: int = 0
    cpu_ns: int = 0
    """Processor time of the load generator itself."""
    busiest: float = 0.0
    """Share of the time for which the busiest process of the load generator ran."""

    def answered(self, status: int, ns: int) -> None:
        """Count an answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status < _FIRST_REFUSAL:
            self.latencies.add(ns)

    def failed(self, why: str) -> None:
        """Count a request that got no answer."""
        self.failures[why] = self.failures.get(why, 0) + 1

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(self.statuses.values()) + sum(self.failures.values())

    @property
    def good(self) -> int:
        """How many got an answer of class 2xx."""
        return self.latencies.total

    @property
    def bad(self) -> int:
        """How many got another answer, or none."""
        return self.requests - self.good

    @property
    def good_per_s(self) -> float:
        """Answers of class 2xx per second, until the last answer came."""
        return self.good / (self.elapsed_ns / 1e9) if self.elapsed_ns else 0.0


def finished(tally: Tally, elapsed_ns: int, cpu_ns: int) -> Tally:
    """The tally of one process at its end, with what it took."""
    tally.elapsed_ns, tally.cpu_ns, tally.busiest = elapsed_ns, cpu_ns, cpu_ns / max(elapsed_ns, 1)
    return tally


def together(tallies: Iterable[Tally]) -> Tally:
    """One tally of processes that sent at the same time."""
    whole = Tally()
    for one in tallies:
        for status, count in one.statuses.items():
            whole.statuses[status] = whole.statuses.get(status, 0) + count
        for why, count in one.failures.items():
            whole.failures[why] = whole.failures.get(why, 0) + count
        whole.connections += one.connections
        whole.latencies.merge(one.latencies)
        whole.elapsed_ns = max(whole.elapsed_ns, one.elapsed_ns)
        whole.cpu_ns += one.cpu_ns
        whole.busiest = max(whole.busiest, one.busiest)
    return whole
