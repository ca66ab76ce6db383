"""What a gateway tells the control plane once a second: its load, and what it refused."""

from collections import Counter, deque
from collections.abc import Callable, Iterable

from penstock.domain.audit import AuthenticationFailure
from penstock.domain.load import GatewayLoad
from penstock.gateway.clients import Clients
from penstock.gateway.load import LoadMeter
from penstock.gateway.proxy import Upstream
from penstock.gateway.table import CurrentTable
from penstock.spool.writer import SpoolWriter
from penstock.wire.messages import Report

MAX_FAILURES = 20
"""Requests without valid credentials that are told one by one in a report; of more, how many there were."""


class Refusals:
    """Counts what was refused before anybody was asked."""

    def __init__(self) -> None:
        self.by_code: Counter[str] = Counter()
        self._failures: deque[AuthenticationFailure] = deque(maxlen=MAX_FAILURES)
        self._untold = 0

    def count(self, error_code: str) -> None:
        """A request was refused."""
        self.by_code[error_code] += 1

    def note(self, failure: AuthenticationFailure) -> None:
        """Somebody showed no valid credentials."""
        if len(self._failures) == MAX_FAILURES:
            self._untold += 1
        else:
            self._failures.append(failure)

    def take(self) -> tuple[list[AuthenticationFailure], int]:
        """The failures since the last time, and how many more there were."""
        taken, untold = list(self._failures), self._untold
        self._failures.clear()
        self._untold = 0
        return taken, untold


class Reporter:
    """Puts reports together."""

    def __init__(
        self,
        table: CurrentTable,
        meter: LoadMeter,
        clients: Clients,
        spool: SpoolWriter,
        upstreams: Iterable[Upstream],
        refusals: Refusals,
    ) -> None:
        self._table = table
        self._meter = meter
        self._clients = clients
        self._spool = spool
        self._upstreams = tuple(upstreams)
        self._refusals = refusals

    def report(self, now_s: float) -> Report:
        """What is to be told now. What is told once is not told again: call it only to send it."""
        recent, news = self._meter.look(now_s)
        failures, untold = self._refusals.take()
        load = GatewayLoad(
            self._clients.count,
            {upstream.name: upstream.passed_on for upstream in self._upstreams},
            dict(self._refusals.by_code),
            self._spool.written,
            self._spool.lost,
        )
        return Report(recent, self._table.demands(now_s), news, load, failures, untold, self._spool.tally.unplaced())


MakeReport = Callable[[float], Report]
"""A report at that time."""
