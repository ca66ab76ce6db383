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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.control.cluster import Cluster
from penstock.domain.errors import PenstockError
from penstock.domain.events import Event, EventKind
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck
from penstock.domain.scaling import desired_replicas, replicas_of, sizing_bounds
from penstock.domain.served_entity import ServedEntity
from penstock.domain.shares import Claim, fair_shares
from penstock.stores.database import Database

_PERIOD_S = 1.0
_REPORT_LASTS_S = 2.5
"""A gateway that has not reported for so long may have calls that we do not know of."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Record:
    """What is remembered of one deployment since it has been routed to, or since this process began."""

    history: deque[float]
    busy_at_s: float


@dataclass(frozen=True, slots=True)
class _Owner:
    """The endpoint and the served entity that a deployment belongs to."""

    endpoint_id: str
    name: str
    config_version: int
    entity: str

    def event(self, before: int, after: int) -> tuple[str, Event]:
        """That its number of replicas has changed."""
        reason = f"From {before} to {after} replicas."
        return self.endpoint_id, Event(EventKind.SCALED, reason, self.config_version, self.entity)


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
    record: Callable[[Sequence[tuple[str, Event]]], None]
    """Told the events, each with the id of its endpoint."""
    _unannounced: set[str] = field(default_factory=set)
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
                deployment = replica.spec.deployment
                if replica.was_woken and self.scales.get(deployment) == 0:
                    self.scales[deployment] = 1
                    self._records.pop(deployment, None)  # it is as if it had just become ready
                    changed.add(name)
                    _log.info("endpoint %s: a request woke %s", name, replica.spec.slot)
        self._announce(changed)

    async def run(self) -> None:
        """Decide once a second until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            try:
                self.decide(time.monotonic())
            except PenstockError as exc:
                _log.warning("the number of replicas could not be decided: %s", exc)

    def decide(self, now_s: float) -> None:
        """One round; none while a gateway's load is unknown."""
        gateways = self.cluster.gateway_pids()
        self._reports = {pid: report for pid, report in self._reports.items() if pid in gateways}
        if any(pid not in self._reports or self._reports[pid][0] < now_s - _REPORT_LASTS_S for pid in gateways):
            for record in self._records.values():
                record.busy_at_s = now_s  # as far as we know
            return
        calls: dict[str, float] = {}
        for _, demands in self._reports.values():
            for deployment, share in demands.items():
                calls[deployment] = calls.get(deployment, 0.0) + share
        owners: dict[str, _Owner] = {}
        claims: list[Claim] = []
        for endpoint in self.database.endpoints():
            config = endpoint.routed
            if config is None or config.is_external:
                continue
            for entity in config.entities:
                deployment = entity.deployment_key(endpoint.id)
                owners[deployment] = _Owner(endpoint.id, endpoint.name, config.version, entity.name)
                check = config.checks.get(entity.name)
                claims.append(self._claim(entity, deployment, check, calls.get(deployment, 0.0), now_s))
        self._records = {key: record for key, record in self._records.items() if key in owners}
        self._apply(fair_shares(claims, self._capacity_bytes()), owners)

    def _apply(self, shares: Mapping[str, int], owners: Mapping[str, "_Owner"]) -> None:
        """Keep what has changed; a deployment's first number is none that anything has happened to."""
        changed = {
            deployment: replicas for deployment, replicas in shares.items() if self.scales.get(deployment) != replicas
        }
        self.record(
            [
                owners[deployment].event(self.scales[deployment], replicas)
                for deployment, replicas in changed.items()
                if deployment in self.scales
            ]
        )
        for deployment in self.scales.keys() - shares.keys():
            del self.scales[deployment]
        for deployment, replicas in changed.items():
            _log.info("endpoint %s, deployment %s: %d replicas", owners[deployment].name, deployment, replicas)
        self.scales.update(changed)
        self._announce({owners[deployment].name for deployment in changed})

    def _announce(self, names: set[str]) -> None:
        """Have a table made of the new numbers; if that cannot be done now, it is tried again a second later."""
        self._unannounced |= names
        if not self._unannounced:
            return
        try:
            self.on_change(self._unannounced)
        except (OSError, PenstockError) as exc:
            _log.warning("the number of replicas could not be announced: %s", exc)
            return
        self._unannounced = set()

    def _capacity_bytes(self) -> int | None:
        return None if self.limits.replica_memory_mb is None else self.limits.replica_memory_mb << 20

    def _claim(
        self, entity: ServedEntity, deployment: str, check: ModelCheck | None, calls: float, now_s: float
    ) -> Claim:
        """What one deployment wants now."""
        windows = entity.windows(self.limits)
        record = self._records.setdefault(deployment, _Record(deque(maxlen=windows.history_s), now_s))
        record.history.append(calls)
        if calls:
            record.busy_at_s = now_s
        bounds = sizing_bounds(entity.sizing, self.limits, check)
        current = replicas_of(deployment, entity, self.limits, self.scales, check)
        wanted = current
        if calls or current != bounds.low:  # else there is nothing to add or to take away
            wanted = desired_replicas(tuple(record.history), now_s - record.busy_at_s, current, bounds, windows)
        size_bytes = check.peak_memory_bytes if check is not None else None
        return Claim(deployment, bounds.low, wanted, size_bytes or 0)
