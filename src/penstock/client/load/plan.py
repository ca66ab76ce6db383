"""What one process of a load generator is to do, and what it tells while it does it."""

import msgspec

from penstock.client.load.tally import Tally
from penstock.client.load.target import Target


class LoadPlan(msgspec.Struct, frozen=True):
    """One request, over so many connections, for so long or so often."""

    target: Target
    request: bytes
    connections: int
    seconds: float | None
    """How long requests are sent; None if their number ends it."""
    requests: int | None
    """How many are sent; None if time ends it."""
    timeout_s: float
    """How long an answer is waited for."""


class Opened(msgspec.Struct, tag=True, frozen=True):
    """All connections are open; nothing is sent before the word to begin."""


class Refused(msgspec.Struct, tag=True, frozen=True):
    """The connections cannot be opened."""

    reason: str


class Progress(msgspec.Struct, tag=True, frozen=True):
    """How far it has come."""

    good: int
    bad: int


class Ended(msgspec.Struct, tag=True, frozen=True):
    """Everything is answered or has failed."""

    tally: Tally


News = Opened | Refused | Progress | Ended


def shares(plan: LoadPlan, processes: int) -> list[LoadPlan]:
    """What each of some processes does of a plan; not more of them than there are connections and requests."""
    count = max(1, min(processes, plan.connections, plan.requests or plan.connections))

    def part(whole: int, at: int) -> int:
        return whole * (at + 1) // count - whole * at // count

    return [
        msgspec.structs.replace(
            plan,
            connections=part(plan.connections, at),
            requests=None if plan.requests is None else part(plan.requests, at),
        )
        for at in range(count)
    ]
