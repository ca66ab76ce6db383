"""Puts together what a stack tells of itself: its endpoints, its gateways and every process."""

import asyncio
import time
from collections.abc import Sequence

from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.control.endpoints import Endpoints
from penstock.control.events import Events
from penstock.control.load import Loads
from penstock.control.metrics import Metrics
from penstock.control.processes import usages
from penstock.domain.endpoint import Endpoint
from penstock.domain.load import EntityLoad, GatewayLoad
from penstock.spool.writer import SpoolWriter
from penstock.wire.messages import ProcessInfo
from penstock.wire.stack_metrics import EntityMetrics, StackMetrics


class StackMetricsSource:
    """The metrics of a stack, as they are now."""

    def __init__(
        self,
        endpoints: Endpoints,
        metrics: Metrics,
        loads: Loads,
        events: Events,
        supervisor: SupervisorClient,
        spool: SpoolWriter,
    ) -> None:
        self._endpoints = endpoints
        self._metrics = metrics
        self._loads = loads
        self._events = events
        self._supervisor = supervisor
        self._spool = spool

    async def of(self, endpoints: Sequence[Endpoint]) -> StackMetrics:
        """What is told to somebody who may see these endpoints. Without the supervisor no processes are told."""
        names = {endpoint.name for endpoint in endpoints}
        infos = [info for info in await self._processes() if info.endpoint is None or info.endpoint in names]
        used = await asyncio.to_thread(usages, infos)
        gateways = self._gateways(infos)
        records = {name: (load.spooled, load.unspooled) for name, load in gateways.items()}
        records["control-plane"] = (self._spool.written, self._spool.lost)
        counts = self._events.counts_of(endpoints)
        return StackMetrics(self._entities(endpoints), used, gateways, records, counts)

    async def _processes(self) -> list[ProcessInfo]:
        try:
            return (await self._supervisor.snapshot()).processes
        except SupervisorUnreachable:
            return []

    def _entities(self, endpoints: Sequence[Endpoint]) -> list[EntityMetrics]:
        asked = {(load.endpoint, load.entity): load for load in self._loads.since_start()}
        in_flight = self._loads.in_flight(time.monotonic())
        return [
            EntityMetrics(
                endpoint.name,
                usage.entity,
                self._endpoints.status(endpoint, endpoint.active, entity),
                asked.get((endpoint.name, entity.name), EntityLoad(endpoint.name, entity.name)),
                usage,
                in_flight.get(entity.deployment_key(endpoint.id), 0.0),
            )
            for endpoint in endpoints
            if endpoint.active is not None
            for entity, usage in zip(endpoint.active.entities, self._metrics.usages(endpoint), strict=True)
        ]

    def _gateways(self, infos: Sequence[ProcessInfo]) -> dict[str, GatewayLoad]:
        names = {info.pid: info.name for info in infos}
        loads = self._loads.gateways(time.monotonic())
        return {names[pid]: load for pid, load in loads.items() if pid in names}
