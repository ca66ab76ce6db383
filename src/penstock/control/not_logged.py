"""How many predictions were answered without being logged, and events when that begins and ends.

Gateways count in files beside their spools, which outlive them (`spool/tally.py`), and report what they could not count
there. Both are read when somebody asks, and looked at every few seconds.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.domain.events import Event, EventKind
from penstock.spool.tally import not_logged

_LOOK_EVERY_S = 2.0
_QUIET_LOOKS = 5
"""After so many looks at which nothing more was missing, predictions count as logged again."""


@dataclass(slots=True)
class _Loss:
    """Predictions of one endpoint that are not being logged."""

    before: int
    """How many there were before it began."""
    quiet: int = 0
    """Looks since there were more."""


@dataclass(slots=True)
class Losses:
    """Tells from counts at one look and the next what has begun and what has ended."""

    _seen: Mapping[str, int] | None = None
    _open: dict[str, _Loss] = field(default_factory=dict)

    def look(self, counts: Mapping[str, int]) -> list[tuple[str, Event]]:
        """Events, each with the id of its endpoint. What is there at the first look was told of before."""
        seen, self._seen = counts if self._seen is None else self._seen, dict(counts)
        events = []
        for endpoint, count in counts.items():
            before = seen.get(endpoint, 0)
            loss = self._open.get(endpoint)
            if count > before and loss is None:
                self._open[endpoint] = _Loss(before)
                events.append((endpoint, Event(EventKind.NOT_LOGGED, _BEGUN)))
            elif loss is not None:
                loss.quiet = 0 if count > before else loss.quiet + 1
                if loss.quiet >= _QUIET_LOOKS:
                    del self._open[endpoint]
                    reason = f"{count - loss.before} requests were answered and not logged, {count} so far in all."
                    events.append((endpoint, Event(EventKind.LOGGED_AGAIN, reason)))
        return events


_BEGUN = "Requests are answered and not logged: the spool is full, or cannot be written. The gateways' logs tell why."


class NotLogged:
    """The counts of all gateways."""

    def __init__(
        self,
        spool: Path,
        record: Callable[[Sequence[tuple[str, Event]]], None],
        gateway_pids: Callable[[], Collection[int]],
    ) -> None:
        self._spool = spool
        self._record = record
        self._gateway_pids = gateway_pids
        self._reported: dict[int, Mapping[str, int]] = {}
        self._losses = Losses()

    def take(self, gateway_pid: int, not_logged: Mapping[str, int]) -> None:
        """A gateway reports what it has counted in memory alone."""
        self._reported = {pid: counts for pid, counts in self._reported.items() if pid in self._gateway_pids()}
        self._reported[gateway_pid] = not_logged

    def counts(self) -> Counter[str]:
        """Requests that were answered and not logged, by the id of their endpoint."""
        return sum((Counter(counts) for counts in self._reported.values()), not_logged(self._spool))

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._record(self._losses.look(self.counts()))
            await asyncio.sleep(_LOOK_EVERY_S)
