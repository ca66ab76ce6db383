"""Puts together what an endpoint's metrics tell: its load and what its replicas have and use."""

import asyncio
from statistics import fmean

from penstock.control.cluster import Cluster
from penstock.control.gpus import Gpus
from penstock.control.load import Loads, Usages
from penstock.domain.endpoint import Endpoint
from penstock.domain.load import EntityLoad, EntityUsage
from penstock.domain.replica import ReplicaState
from penstock.domain.sizing import CONCURRENCY_PER_REPLICA


class Metrics:
    """The metrics of endpoints."""

    def __init__(self, cluster: Cluster, loads: Loads) -> None:
        self._cluster = cluster
        self._loads = loads
        self._usages = Usages(cluster.replica_pids)
        self._gpus = Gpus(cluster.has_gpu_replicas)

    async def follow(self) -> None:
        """Sample what replicas use until cancelled."""
        async with asyncio.TaskGroup() as sampling:
            sampling.create_task(self._usages.follow())
            sampling.create_task(self._gpus.follow())

    def loads(self, endpoint: Endpoint) -> list[EntityLoad]:
        """What each entity of the active config was asked in the last minute; zeros if nothing."""
        seen = {load.entity: load for load in self._loads.last_minute(endpoint.name)}
        names = [entity.name for entity in endpoint.active.entities] if endpoint.active else []
        return [seen.get(name, EntityLoad(endpoint.name, name)) for name in names]

    def usages(self, endpoint: Endpoint) -> list[EntityUsage]:
        """What the replicas of each entity of the active config have and use."""
        return [
            self._usage(endpoint, entity.name, entity.deployment_key(endpoint.id))
            for entity in (endpoint.active.entities if endpoint.active else ())
        ]

    def _usage(self, endpoint: Endpoint, name: str, deployment: str) -> EntityUsage:
        replicas = [
            replica
            for replica in self._cluster.replicas_of(endpoint.name)
            if replica.spec.deployment == deployment and replica.state is ReplicaState.READY
        ]
        pids = [self._cluster.pid_of(replica.spec.slot) for replica in replicas]
        known = [usage for pid in pids if pid is not None and (usage := self._usages.of(pid)) is not None]
        return EntityUsage(
            name,
            len(replicas) * CONCURRENCY_PER_REPLICA,
            fmean(usage.cpu_percent for usage in known) if known else None,
            fmean(usage.memory_percent for usage in known) if known else None,
            len(replicas),
            self._gpus.of([pid for pid in pids if pid is not None]) if any(r.spec.gpus for r in replicas) else None,
        )
