"""What the control plane sees of the stack: the supervisor's latest snapshot, kept up to date."""

import asyncio
import logging
from collections.abc import Callable

from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.domain.jobs.task_spec import attempt_of
from penstock.domain.replica import Replica
from penstock.wire.messages import Snapshot

_RETRY_S = 0.2

_log = logging.getLogger(__name__)


class Cluster:
    """Replicas and gateways as the supervisor last told them."""

    def __init__(self, supervisor: SupervisorClient) -> None:
        self._supervisor = supervisor
        self._replicas: dict[str, tuple[Replica, ...]] = {}
        self._gateways: frozenset[int] = frozenset()
        self._pids: dict[str, int] = {}
        self._tasks: frozenset[int] = frozenset()
        self.is_known = False
        """Whether a snapshot has come yet: without one, nothing may be concluded from an empty view."""

    def replicas_of(self, endpoint_name: str) -> tuple[Replica, ...]:
        """The replicas that were started for an endpoint of that name."""
        return self._replicas.get(endpoint_name, ())

    def endpoint_names(self) -> frozenset[str]:
        """Names of all endpoints that have a replica."""
        return frozenset(self._replicas)

    def gateway_pids(self) -> frozenset[int]:
        """Process ids of the gateways that run."""
        return self._gateways

    def replica_pids(self) -> frozenset[int]:
        """Process ids of all replicas that run."""
        return frozenset(self._pids.values())

    def has_gpu_replicas(self) -> bool:
        """Whether any replica was started that has a GPU."""
        return any(replica.spec.gpus for replicas in self._replicas.values() for replica in replicas)

    def tasks(self) -> frozenset[int]:
        """The attempts at tasks of jobs that have a process."""
        return self._tasks

    def pid_of(self, slot: str) -> int | None:
        """Process id of the replica in a slot."""
        return self._pids.get(slot)

    async def follow(self, on_change: Callable[[frozenset[str]], None]) -> None:
        """Keep the view up to date until cancelled; `on_change` gets the names whose replicas changed."""
        while True:
            try:
                async for snapshot in self._supervisor.watch():
                    on_change(self._take(snapshot))
            except SupervisorUnreachable as exc:
                _log.warning("cannot watch the supervisor: %s", exc)
            await asyncio.sleep(_RETRY_S)

    def _take(self, snapshot: Snapshot) -> frozenset[str]:
        seen: dict[str, list[Replica]] = {}
        for info in snapshot.replicas:
            replica = Replica(
                info.spec,
                info.state,
                info.load_failed,
                info.deaths,
                info.message,
                info.was_woken,
                info.check,
                info.ended_at_ms,
                info.retry_at_ms,
            )
            seen.setdefault(info.spec.endpoint_name, []).append(replica)
        replicas = {name: tuple(own) for name, own in seen.items()}
        changed = {
            name for name in replicas.keys() | self._replicas.keys() if replicas.get(name) != self._replicas.get(name)
        }
        self._replicas = replicas
        self._gateways = frozenset(
            process.pid for process in snapshot.processes if process.role == "gateway" and process.pid is not None
        )
        self._pids = {p.name: p.pid for p in snapshot.processes if p.role == "replica" and p.pid is not None}
        self._tasks = running_attempts(snapshot)
        self.is_known = True
        return frozenset(changed)


def running_attempts(snapshot: Snapshot) -> frozenset[int]:
    """The attempts at tasks of jobs that a snapshot tells of."""
    found = (attempt_of(process.name) for process in snapshot.processes)
    return frozenset(attempt for attempt in found if attempt is not None)
