"""The autoscaler: once a second it adds up what gateways report, keeps a short history and lets the policy decide.

What it decides is a number of replicas for each deployment. The routing table is made by these numbers, and the
reconciler starts and stops by them; the newest table is also where they are found again after a restart. So a replica
is out of the table before it is stopped, and those at zero stay at zero.

A replica that a request has woken, with or without us, counts as one that is wanted.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from penstock.control.cluster import Cluster
from penstock.domain.endpoint import Endpoint
from penstock.domain.limits import Limits
from penstock.domain.scaling import desired_replicas, replica_bounds, replicas_of
from penstock.domain.served_entity import ServedEntity
from penstock.stores.database import Database

_PERIOD_S = 1.0
_REPORT_LASTS_S = 3.5
"""A gateway that has not reported for so long may have calls that we do not know of."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Record:
    """What is remembered of one deployment since it has been routed to, or since this process began."""

    history: deque[float]
    busy_at_s: float


@dataclass(slots=True)
class Autoscaler:
    """Decides how many replicas each deployment has."""

    database: Database
    cluster: Cluster
    limits: Limits
    scales: dict[str, int]
    """Replicas by deployment, as the newest table has them; changed in place, and read by whoever builds tables."""
    on_change: Callable[[Iterable[str]], None]
    """Told the names of the endpoints whose numbers have changed."""
    _records: dict[str, _Record] = field(default_factory=dict)
    _reports: dict[int, tuple[float, Mapping[str, float]]] = field(default_factory=dict)

    def take(self, gateway_pid: int, demands: Mapping[str, float], now_s: float) -> None:
        """Keep a gateway's report in place of the one before."""
        self._reports[gateway_pid] = now_s, demands

    def adopt(self, endpoint_names: Iterable[str]) -> None:
        """Count on the replicas of these endpoints that a request has woken."""
        changed = set()
        for name in endpoint_names:
            for replica in self.cluster.replicas_of(name):
                if replica.was_woken and self.scales.get(replica.spec.deployment) == 0:
                    self.scales[replica.spec.deployment] = 1
                    changed.add(name)
                    _log.info("endpoint %s: a request woke %s", name, replica.spec.slot)
        if changed:
            self.on_change(changed)

    async def run(self) -> None:
        """Decide once a second until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.decide(time.monotonic())

    def decide(self, now_s: float) -> None:
        """One round; none while a gateway's load is unknown."""
        gateways = self.cluster.gateway_pids()
        self._reports = {pid: report for pid, report in self._reports.items() if pid in gateways}
        if any(pid not in self._reports or self._reports[pid][0] < now_s - _REPORT_LASTS_S for pid in gateways):
            return
        calls: dict[str, float] = {}
        for _, demands in self._reports.values():
            for deployment, share in demands.items():
                calls[deployment] = calls.get(deployment, 0.0) + share
        changed, routed = set(), set()
        for endpoint in self.database.endpoints():
            for entity in endpoint.routed.entities if endpoint.routed is not None else ():
                if entity.model is not None:
                    deployment = entity.deployment_key(endpoint.id)
                    routed.add(deployment)
                    if self._decide_on(endpoint, entity, deployment, calls.get(deployment, 0.0), now_s):
                        changed.add(endpoint.name)
        self._records = {key: record for key, record in self._records.items() if key in routed}
        for deployment in self.scales.keys() - routed:
            del self.scales[deployment]
        if changed:
            self.on_change(changed)

    def _decide_on(self, endpoint: Endpoint, entity: ServedEntity, deployment: str, calls: float, now_s: float) -> bool:
        """Whether the number of replicas of one deployment has changed."""
        windows = entity.windows(self.limits)
        record = self._records.setdefault(deployment, _Record(deque(maxlen=windows.history_s), now_s))
        record.history.append(calls)
        if calls:
            record.busy_at_s = now_s
        bounds = replica_bounds(entity, self.limits)
        current = replicas_of(deployment, entity, self.limits, self.scales)
        if current == bounds.low and not calls:
            return False  # nothing to take away
        wanted = desired_replicas(tuple(record.history), now_s - record.busy_at_s, current, bounds, windows)
        if wanted == current:
            return False
        _log.info("endpoint %s, entity %s: %d -> %d replicas", endpoint.name, entity.name, current, wanted)
        self.scales[deployment] = wanted
        return True
