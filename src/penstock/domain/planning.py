"""`plan`: what to do for one endpoint, given what was asked for and what is seen. The heart of the reconciler.

It is level-triggered: it looks at where things stand and not at what happened, so that creating, updating, a crash
and a restart of the control plane are all the same computation. Applying its actions and planning again leads to
no action once the endpoint is where it should be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.domain.devices import lack
from penstock.domain.endpoint import Endpoint, EndpointConfig, checks_of, known_check
from penstock.domain.external_model import NOT_SERVED
from penstock.domain.limits import Limits
from penstock.domain.replica import Replica, ReplicaSpec, ReplicaState, replica_specs
from penstock.domain.scaling import replicas_of
from penstock.domain.served_entity import ServedEntity
from penstock.domain.shares import refusal


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Have what the spec describes run in its slot, or sleep there until somebody asks for it."""

    spec: ReplicaSpec
    is_asleep: bool = False


@dataclass(frozen=True, slots=True)
class RestReplica:
    """Let the replica in this slot finish what it has, then sleep."""

    slot: str


@dataclass(frozen=True, slots=True)
class StopReplica:
    """Let the replica in this slot finish what it has, then end it."""

    slot: str


@dataclass(frozen=True, slots=True)
class SwitchTraffic:
    """Route to the pending config."""


@dataclass(frozen=True, slots=True)
class CompleteUpdate:
    """The pending config becomes the active one."""


@dataclass(frozen=True, slots=True)
class FailUpdate:
    """The pending config is given up; `failures` maps entity names to causes."""

    failures: dict[str, str]


Action = StartReplica | RestReplica | StopReplica | SwitchTraffic | CompleteUpdate | FailUpdate


@dataclass(frozen=True, slots=True)
class Routing:
    """What the gateways are known to route by."""

    slots: frozenset[str] = frozenset()
    """Slots in the newest routing table."""
    sleeping: frozenset[str] = frozenset()
    """Those of them that gateways connect to for a request only."""
    is_settled: bool = True
    """Whether every gateway has acknowledged the newest table."""


def plan(
    endpoint: Endpoint | None,
    replicas: Sequence[Replica],
    routing: Routing,
    now_ms: int,
    limits: Limits,
    scales: Mapping[str, int],
    promised: int = 0,
) -> tuple[Action, ...]:
    """Actions that bring one endpoint closer to what was asked for.

    Args:
        endpoint: the stored endpoint, or None if there is none of that name any more.
        replicas: all replicas seen that were started for an endpoint of that name.
        routing: what the gateways hold.
        now_ms: milliseconds since the epoch.
        limits: the machine and its defaults.
        scales: how many replicas the autoscaler wants, by deployment; 0 lets the first one sleep.
        promised: memory that is promised to other endpoints, bytes.
    """
    seen = {replica.spec.slot: replica for replica in replicas}
    wanted = _wanted(endpoint, replicas, limits, scales)
    actions: list[Action] = [
        start
        for slot, start in wanted.items()
        if slot not in seen  # a slot that still drains is free again when it is empty
        or (not start.is_asleep and (seen[slot].state is ReplicaState.ASLEEP or seen[slot].was_woken))
    ]
    if endpoint is not None and endpoint.is_updating and endpoint.pending is not None:
        actions += _advance(endpoint, endpoint.pending, replicas, wanted, routing, now_ms, limits, promised)
    if routing.is_settled:
        actions += [
            StopReplica(slot)
            for slot, replica in seen.items()
            if (slot not in wanted or _is_left_over(wanted[slot].spec, replica))
            and slot not in routing.slots
            and replica.state is not ReplicaState.DRAINING
        ]
        actions += [
            RestReplica(slot) for slot, start in wanted.items() if start.is_asleep and _rests(slot, seen, routing)
        ]
    return tuple(actions)


def _wanted(
    endpoint: Endpoint | None, replicas: Sequence[Replica], limits: Limits, scales: Mapping[str, int]
) -> dict[str, StartReplica]:
    if endpoint is None:
        return {}
    return {
        start.spec.slot: start
        for config in endpoint.wanted
        for entity in config.entities
        for start in _starts(endpoint, config, entity, replicas, limits, scales)
    }


def _starts(
    endpoint: Endpoint,
    config: EndpointConfig,
    entity: ServedEntity,
    replicas: Sequence[Replica],
    limits: Limits,
    scales: Mapping[str, int],
) -> list[StartReplica]:
    """What is wanted of one entity; the first replica alone while it sleeps, or has not told yet how its model is."""
    key = entity.deployment_key(endpoint.id)
    check = config.checks.get(entity.name)
    is_pending = endpoint.pending is not None and config.version == endpoint.pending.version
    if check is None and is_pending:
        check = known_check(endpoint, key, replicas)
    count = 1 if check is None and is_pending else replicas_of(key, entity, limits, scales, check)
    specs = replica_specs(endpoint.id, endpoint.name, config.version, entity, max(count, 1), limits)
    return [StartReplica(spec, is_asleep=not count) for spec in specs]


def _rests(slot: str, seen: Mapping[str, Replica], routing: Routing) -> bool:
    """Whether a replica that is to sleep is awake, though no gateway would mind and no request has woken it."""
    replica = seen.get(slot)
    return (
        replica is not None
        and replica.state in {ReplicaState.READY, ReplicaState.RESTARTING}
        and not replica.was_woken
        and (slot in routing.sleeping or slot not in routing.slots)
    )


def _advance(
    endpoint: Endpoint,
    pending: EndpointConfig,
    replicas: Sequence[Replica],
    wanted: Mapping[str, StartReplica],
    routing: Routing,
    now_ms: int,
    limits: Limits,
    promised: int,
) -> list[Action]:
    if endpoint.switching:
        return [CompleteUpdate()] if routing.is_settled else []
    seen = {replica.spec.slot: replica for replica in replicas}
    obstacles = {entity.name: _obstacle(entity, limits) for entity in pending.entities}
    failures = {name: obstacle for name, obstacle in obstacles.items() if obstacle is not None}
    waiting: dict[str, str] = {}
    for entity in pending.entities:
        key = entity.deployment_key(endpoint.id)
        for start in (start for start in wanted.values() if start.spec.deployment == key):
            replica = seen.get(start.spec.slot)
            if replica is not None and (replica.state is ReplicaState.READY or start.is_asleep):
                continue
            if replica is not None and _has_failed_for(pending, replica):
                failures[entity.name] = replica.message
            else:
                waiting[entity.name] = (
                    f"The deployment was aborted: the update was not ready after {limits.deploy_timeout_s:g} s."
                )
    if failures:
        return [FailUpdate(failures)]
    if obstacle := refusal(pending, checks_of(endpoint, replicas), promised, limits):
        return [FailUpdate({entity.name: obstacle for entity in pending.entities})]
    if not waiting:
        return [SwitchTraffic()]
    if now_ms - pending.started_at_ms > limits.deploy_timeout_s * 1000:
        return [FailUpdate(waiting)]
    return []


def _obstacle(entity: ServedEntity, limits: Limits) -> str | None:
    """Why an entity can have no replica here, if that is so."""
    return NOT_SERVED if entity.external is not None else lack(entity.sizing.workload_type, limits.gpus)


def _is_left_over(spec: ReplicaSpec, replica: Replica) -> bool:
    """Whether what stands in a wanted slot is the failure of an earlier attempt, which has to make room."""
    return (
        replica.has_failed_to_deploy
        and replica.state is not ReplicaState.READY
        and replica.spec.config_version < spec.config_version
    )


def _has_failed_for(pending: EndpointConfig, replica: Replica) -> bool:
    """Whether a replica's failure is one of this attempt, not of an earlier one that left it behind."""
    return (
        replica.has_failed_to_deploy
        and replica.state is not ReplicaState.DRAINING
        and replica.spec.config_version == pending.version
    )
