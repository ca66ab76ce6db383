"""What gateways reported of the last minute, and what replicas use of the machine."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from penstock.domain.load import WINDOW_S, EntityLoad, total

_SAMPLE_EVERY_S = 5.0
_MIN_SAMPLES = 2


class Loads:
    """The newest report of each gateway process; that of a gateway which is gone counts until it is a minute old."""

    def __init__(self) -> None:
        self._reports: dict[int, tuple[float, list[EntityLoad]]] = {}

    def take(self, gateway_pid: int, loads: list[EntityLoad], now_s: float) -> None:
        """Keep a report in place of the one before."""
        self._reports[gateway_pid] = (now_s, loads)
        self._reports = {pid: report for pid, report in self._reports.items() if report[0] > now_s - WINDOW_S}

    def last_minute(self, endpoint: str) -> list[EntityLoad]:
        """The load of each entity of an endpoint, all gateways together."""
        return total(load for _, loads in self._reports.values() for load in loads if load.endpoint == endpoint)


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
