"""`plan`: what to do for one endpoint, given what was asked for and what is seen. The heart of the reconciler.

It is level-triggered: it looks at where things stand and not at what happened, so that creating, updating, a crash
and a restart of the control plane are all the same computation. Applying its actions and planning again leads to
no action once the endpoint is where it should be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.domain.devices import lack
from penstock.domain.endpoint import ConfigUpdate, Endpoint, EndpointConfig
from penstock.domain.external_model import NOT_SERVED
from penstock.domain.limits import Limits
from penstock.domain.replica import Replica, ReplicaSpec, ReplicaState, replica_specs


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start what the spec describes in its slot."""

    spec: ReplicaSpec


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


Action = StartReplica | StopReplica | SwitchTraffic | CompleteUpdate | FailUpdate


@dataclass(frozen=True, slots=True)
class Routing:
    """What the gateways are known to route by."""

    slots: frozenset[str] = frozenset()
    """Slots in the newest routing table."""
    is_settled: bool = True
    """Whether every gateway has acknowledged the newest table."""


def plan(
    endpoint: Endpoint | None, replicas: Sequence[Replica], routing: Routing, now_ms: int, limits: Limits
) -> tuple[Action, ...]:
    """Actions that bring one endpoint closer to what was asked for.

    Args:
        endpoint: the stored endpoint, or None if there is none of that name any more.
        replicas: all replicas seen that were started for an endpoint of that name.
        routing: what the gateways hold.
        now_ms: milliseconds since the epoch.
        limits: the machine and its defaults.
    """
    seen = {replica.spec.slot: replica for replica in replicas}
    wanted = _wanted(endpoint, limits)
    actions: list[Action] = [
        StartReplica(spec)
        for slot, spec in wanted.items()
        if slot not in seen  # a slot that still drains is free again when it is empty
    ]
    if endpoint is not None and endpoint.update is ConfigUpdate.IN_PROGRESS and endpoint.pending is not None:
        actions += _advance(endpoint, endpoint.pending, seen, routing, now_ms, limits)
    if routing.is_settled:
        actions += [
            StopReplica(slot)
            for slot, replica in seen.items()
            if (slot not in wanted or _is_left_over(wanted[slot], replica))
            and slot not in routing.slots
            and replica.state is not ReplicaState.DRAINING
        ]
    return tuple(actions)


def _wanted(endpoint: Endpoint | None, limits: Limits) -> dict[str, ReplicaSpec]:
    if endpoint is None:
        return {}
    return {
        spec.slot: spec
        for config in endpoint.wanted
        for entity in config.entities
        for spec in replica_specs(endpoint.id, endpoint.name, config.version, entity, limits)
    }


def _advance(
    endpoint: Endpoint,
    pending: EndpointConfig,
    seen: dict[str, Replica],
    routing: Routing,
    now_ms: int,
    limits: Limits,
) -> list[Action]:
    if endpoint.switching:
        return [CompleteUpdate()] if routing.is_settled else []
    failures: dict[str, str] = {}
    waiting: dict[str, str] = {}
    for entity in pending.entities:
        if entity.external is not None:
            failures[entity.name] = NOT_SERVED
        elif missing := lack(entity.sizing.workload_type, limits.gpus):
            failures[entity.name] = missing
        for spec in replica_specs(endpoint.id, endpoint.name, pending.version, entity, limits):
            replica = seen.get(spec.slot)
            if replica is not None and replica.state is ReplicaState.READY:
                continue
            if replica is not None and _has_failed_for(pending, replica):
                failures[entity.name] = replica.message
            else:
                waiting[entity.name] = (
                    f"The deployment was aborted: the update was not ready after {limits.deploy_timeout_s:g} s."
                )
    if failures:
        return [FailUpdate(failures)]
    if not waiting:
        return [SwitchTraffic()]
    if now_ms - pending.started_at_ms > limits.deploy_timeout_s * 1000:
        return [FailUpdate(waiting)]
    return []


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
