"""The reconciler: load what was asked for, look at what is there, plan, act, store how far it has come.

It is given a *name*, never an event. Whatever woke it (a request, a replica that became ready or died, gateways that
acknowledged a table, a restart), it does the same.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from penstock.client.supervisor import SupervisorClient
from penstock.control.audit import Audit
from penstock.control.clock import now_ms
from penstock.control.cluster import Cluster
from penstock.control.logs import remove_logs
from penstock.control.publisher import Publisher
from penstock.control.secrets import Secrets
from penstock.domain.endpoint import Endpoint, checks_of, complete, fail, known_check, switch
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck
from penstock.domain.planning import (
    Action,
    CompleteUpdate,
    FailUpdate,
    RestReplica,
    StartReplica,
    StopReplica,
    SwitchTraffic,
    plan,
)
from penstock.domain.replica import ReplicaSpec
from penstock.domain.shares import promised_bytes
from penstock.faults import fault_point
from penstock.stores.database import Database
from penstock.stores.keyring import Undecryptable

_CHECK_DEADLINE_EVERY_S = 5.0

_log = logging.getLogger(__name__)


class Reconciler:
    """Brings one endpoint closer to what was asked for, each time it is called."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster,
        supervisor: SupervisorClient,
        publisher: Publisher,
        secrets: Secrets,
        audit: Audit,
        limits: Limits,
        scales: Mapping[str, int],
        logs: Path,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._supervisor = supervisor
        self._publisher = publisher
        self._secrets = secrets
        self._audit = audit
        self._limits = limits
        self._scales = scales
        self._logs = logs

    async def reconcile(self, name: str) -> float | None:
        """One round for the endpoint of that name; returns when to look again, in seconds, if it has to.

        Raises:
            SupervisorUnreachable, TemporarilyUnavailable: something could not be done; the round is to be repeated.
        """
        if not self._cluster.is_known:
            return None
        endpoint = self._database.endpoint(name)
        actions = plan(
            endpoint,
            self._cluster.replicas_of(name),
            self._publisher.routing(),
            now_ms(),
            self._limits,
            self._scales,
            self._promised_to_others(endpoint),
        )
        for action in actions:
            _log.info("endpoint %s: %s", name, action)
            await self._act(endpoint, action)
        if endpoint is None and not self._cluster.replicas_of(name):
            remove_logs(self._logs, name)
        if any(isinstance(action, SwitchTraffic | CompleteUpdate | FailUpdate) for action in actions):
            return 0.0
        is_updating = endpoint is not None and endpoint.is_updating
        return _CHECK_DEADLINE_EVERY_S if is_updating else None

    async def _act(self, endpoint: Endpoint | None, action: Action) -> None:
        match action:
            case StartReplica(spec=spec, is_asleep=is_asleep):
                await self._launch(endpoint, spec, is_asleep=is_asleep)
            case RestReplica(slot=slot):
                await self._supervisor.rest(slot)
            case StopReplica(slot=slot):
                await self._supervisor.stop(slot)
                fault_point("stop-after-ask")
            case SwitchTraffic():
                self._save(endpoint, lambda planned: switch(planned, self._checks(planned)))
            case CompleteUpdate():
                self._save(endpoint, complete)
            case FailUpdate(failures=failures):
                self._save(endpoint, lambda planned: fail(planned, failures, self._checks(planned)))

    def _promised_to_others(self, endpoint: Endpoint | None) -> int:
        if endpoint is None or not endpoint.is_updating:
            return 0
        others = (other for other in self._database.endpoints() if other.id != endpoint.id)
        return promised_bytes(others, self._limits)

    def _checks(self, endpoint: Endpoint) -> dict[str, ModelCheck]:
        return checks_of(endpoint, self._cluster.replicas_of(endpoint.name))

    async def _launch(self, endpoint: Endpoint | None, spec: ReplicaSpec, *, is_asleep: bool) -> None:
        """Start a replica, unless its secrets cannot be opened: the rest of the endpoint is not to wait for that."""
        try:
            secrets = self._secrets.values_for(spec)
        except Undecryptable as exc:
            _log.error(
                "endpoint %s: %s is not started, a secret cannot be decrypted: %s", spec.endpoint_name, spec.slot, exc
            )
            return
        check = (
            None
            if endpoint is None
            else known_check(endpoint, spec.deployment, self._cluster.replicas_of(endpoint.name))
        )
        self._audit.secrets_used(spec, list(secrets))
        fault_point("launch-before-ask")
        await self._supervisor.launch(spec, secrets, is_asleep=is_asleep, check=check)
        fault_point("launch-after-ask")

    def _save(self, planned: Endpoint | None, change: Callable[[Endpoint], Endpoint]) -> None:
        """Apply a change to the stored endpoint and publish what it makes of the routing table.

        Nothing else runs between load and save: both are synchronous, on the one event loop. If the endpoint is no
        longer the one that was planned for, nothing is changed: another round is on its way.
        """
        stored = self._database.endpoint(planned.name) if planned is not None else None
        if stored is None or planned is None or stored.id != planned.id or stored.pending != planned.pending:
            return
        self._database.save_endpoint(change(stored))
        self._publisher.publish()
