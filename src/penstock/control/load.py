"""What gateways reported of the last minute, and what replicas use of the machine."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import psutil

from penstock.domain.endpoint import Endpoint
from penstock.domain.load import WINDOW_S, EntityLoad, GatewayLoad, total
from penstock.wire.messages import Report

_SAMPLE_EVERY_S = 5.0
_MIN_SAMPLES = 2
_FRESH_S = 5.0
"""A gateway that has not reported for longer tells nothing of now."""


class Loads:
    """The newest report of each gateway process, and what all have told since this process started.

    Of a gateway that is gone the last minute counts until the report is a minute old.
    """

    def __init__(self) -> None:
        self._reports: dict[int, tuple[float, Report]] = {}
        self._totals: dict[tuple[str, str], EntityLoad] = {}
        self._news: dict[tuple[str, str], EntityLoad] = {}

    def take(self, gateway_pid: int, report: Report, now_s: float) -> None:
        """Keep a report in place of the one before."""
        self._reports[gateway_pid] = (now_s, report)
        self._reports = {pid: told for pid, told in self._reports.items() if told[0] > now_s - WINDOW_S}
        for load in report.news:
            for sums in (self._totals, self._news):
                key = (load.endpoint, load.entity)
                sums[key] = sums[key].combined(load) if key in sums else load

    def last_minute(self, endpoint: str) -> list[EntityLoad]:
        """The load of each entity of an endpoint, all gateways together."""
        reports = (report for _, report in self._reports.values())
        return total(load for report in reports for load in report.loads if load.endpoint == endpoint)

    def since_start(self) -> list[EntityLoad]:
        """The load of each entity since this process started."""
        return list(self._totals.values())

    def take_news(self) -> list[EntityLoad]:
        """The load of each entity since the last time."""
        news, self._news = self._news, {}
        return list(news.values())

    def gateways(self, now_s: float) -> dict[int, GatewayLoad]:
        """What each gateway that reports told of itself last."""
        return {pid: report.gateway for pid, (at_s, report) in self._reports.items() if at_s > now_s - _FRESH_S}

    def in_flight(self, now_s: float) -> dict[str, float]:
        """Calls waiting or at work, on average over the last second, by deployment."""
        sums: dict[str, float] = {}
        for at_s, report in self._reports.values():
            if at_s > now_s - _FRESH_S:
                for deployment, calls in report.demands.items():
                    sums[deployment] = sums.get(deployment, 0.0) + calls
        return sums

    def keep(self, endpoints: Sequence[Endpoint]) -> None:
        """Forget the counts of endpoints that are not among these."""
        names = {endpoint.name for endpoint in endpoints}
        self._totals = {key: load for key, load in self._totals.items() if key[0] in names}


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process used, on average over the last minute."""

    cpu_percent: float
    """Of one core."""
    memory_percent: float
    """Of the machine's memory, resident."""


class Usages:
    """Samples of replicas' processes."""

    def __init__(self, replica_pids: Callable[[], Iterable[int]]) -> None:
        self._replica_pids = replica_pids
        self._samples: dict[int, deque[tuple[float, float, float]]] = {}

    async def follow(self) -> None:
        """Sample until cancelled."""
        while True:
            self._sample(time.monotonic())
            await asyncio.sleep(_SAMPLE_EVERY_S)

    def of(self, pid: int) -> Usage | None:
        """What a replica used over the last minute; None until there are two samples."""
        samples = self._samples.get(pid, deque())
        if len(samples) < _MIN_SAMPLES:
            return None
        (first_s, first_cpu_s, _), (last_s, last_cpu_s, memory) = samples[0], samples[-1]
        return Usage(100 * (last_cpu_s - first_cpu_s) / (last_s - first_s), memory)

    def _sample(self, now_s: float) -> None:
        pids = set(self._replica_pids())
        self._samples = {pid: samples for pid, samples in self._samples.items() if pid in pids}
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                times = process.cpu_times()
                samples = self._samples.setdefault(pid, deque())
                samples.append((now_s, times.user + times.system, process.memory_percent()))
                while len(samples) > _MIN_SAMPLES and samples[1][0] <= now_s - WINDOW_S:
                    samples.popleft()
