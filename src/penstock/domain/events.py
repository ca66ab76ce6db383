"""Events: what happened to an endpoint, and why, told from what it was before and what it is after.

Nothing here holds the value of a secret: reasons are made of names, numbers and what a failing process said of itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.domain import following
from penstock.domain.endpoint import ConfigUpdate, Endpoint, EndpointConfig
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.served_entity import ModelVersion

MAX_EVENTS = 1000
"""So many events of an endpoint are kept, the newest."""
MAX_REASON_LENGTH = 2000


class EventKind(StrEnum):
    """Everything that can happen."""

    CREATED = "CREATED"
    UPDATE_STARTED = "UPDATE_STARTED"
    UPDATE_COMPLETED = "UPDATE_COMPLETED"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_SUPERSEDED = "UPDATE_SUPERSEDED"
    TRAFFIC_SWITCHED = "TRAFFIC_SWITCHED"
    WAITING_FOR_MODEL = "WAITING_FOR_MODEL"
    MODEL_FOUND = "MODEL_FOUND"
    ALIAS_MOVED = "ALIAS_MOVED"
    ALIAS_REMOVED = "ALIAS_REMOVED"
    PINNED = "PINNED"
    STOPPED = "STOPPED"
    STARTED = "STARTED"
    PERMISSIONS_CHANGED = "PERMISSIONS_CHANGED"
    REPLICA_STARTED = "REPLICA_STARTED"
    REPLICA_READY = "REPLICA_READY"
    REPLICA_DIED = "REPLICA_DIED"
    REPLICA_STOPPED = "REPLICA_STOPPED"
    REPLICA_SLEPT = "REPLICA_SLEPT"
    REPLICA_WOKEN = "REPLICA_WOKEN"
    SCALED = "SCALED"
    TIER_LOWERED = "TIER_LOWERED"
    NOT_LOGGED = "NOT_LOGGED"
    LOGGED_AGAIN = "LOGGED_AGAIN"
    FEEDBACK_UNMATCHED = "FEEDBACK_UNMATCHED"
    TABLE_DEGRADED = "TABLE_DEGRADED"
    TABLE_RECOVERED = "TABLE_RECOVERED"
    TABLE_REFUSED_ROWS = "TABLE_REFUSED_ROWS"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to an endpoint."""

    kind: EventKind
    reason: str
    config_version: int | None = None
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event and when it was recorded."""

    at_ms: int
    event: Event


def endpoint_events(before: Endpoint | None, after: Endpoint, by: str) -> tuple[Event, ...]:
    """What happened when an endpoint was stored in place of what it was before; `by` is who did it."""
    return tuple(_endpoint_events(before, after, by))


def _endpoint_events(before: Endpoint | None, after: Endpoint, by: str) -> Iterator[Event]:
    if before is None:
        yield Event(EventKind.CREATED, f"Created by {after.creator}.")
    elif before.grants != after.grants:
        grants = ", ".join(f"{grant.identity} {grant.level}" for grant in after.grants)
        yield Event(EventKind.PERMISSIONS_CHANGED, f"Set by {by}: {grants}.")
    if before is not None and before.stopped != after.stopped:
        if after.stopped:
            yield Event(EventKind.STOPPED, f"Stopped by {by}.")
        else:
            yield Event(EventKind.STARTED, f"Started by {by}.")
    yield from _alias_events(before, after)
    yield from _update_events(before, after)


def _alias_events(before: Endpoint | None, after: Endpoint) -> Iterator[Event]:
    lost = before.lost_aliases if before is not None else ()
    for entity in after.active.entities if after.active is not None else ():
        if entity.name in after.lost_aliases and entity.name not in lost and entity.model is not None:
            reason = f"{following.alias_of(entity)} is gone; version {entity.model.version} serves on."
            yield Event(EventKind.ALIAS_REMOVED, reason, after.active.version if after.active else None, entity.name)


def _update_events(before: Endpoint | None, after: Endpoint) -> Iterator[Event]:
    was = before.pending if before is not None and before.update is ConfigUpdate.IN_PROGRESS else None
    comes = after.pending if after.update is ConfigUpdate.IN_PROGRESS else None
    if was is not None and (comes is None or comes.version != was.version):
        yield from _end_events(was, after)
    if comes is not None and (was is None or comes.version != was.version):
        yield from _start_events(before, comes)
    elif comes is not None and was is not None:
        yield from _progress_events(was, comes)
        if after.switching and before is not None and not before.switching:
            yield Event(EventKind.TRAFFIC_SWITCHED, "Every served entity is ready.", comes.version)


def _end_events(config: EndpointConfig, after: Endpoint) -> Iterator[Event]:
    number = config.version
    if after.active is not None and after.active.version == number:
        yield Event(EventKind.UPDATE_COMPLETED, "Every gateway routes by this config.", number)
    elif after.pending is not None and after.pending.version == number:
        for entity, cause in after.failures.items():
            avoided = after.rejected.get(entity)
            later = f" Version {avoided.version} is not tried again until the alias moves." if avoided else ""
            yield Event(EventKind.UPDATE_FAILED, f"{cause}{later}", number, entity)
    else:
        yield Event(EventKind.UPDATE_SUPERSEDED, "It waited for a model, and gave way.", number)


def _start_events(before: Endpoint | None, config: EndpointConfig) -> Iterator[Event]:
    followed = _followed_models(before.active or before.pending) if before is not None else {}
    for entity in config.entities:
        if entity.name not in followed or entity.model is None:
            continue
        if not entity.follow_alias:
            reason = f"Stays at version {entity.model.version}, whatever its alias does: asked for by {config.author}."
            yield Event(EventKind.PINNED, reason, config.version, entity.name)
        elif config.author == following.AUTHOR and entity.model != followed[entity.name]:
            reason = f"{following.alias_of(entity)} leads to version {entity.model.version} now."
            yield Event(EventKind.ALIAS_MOVED, reason, config.version, entity.name)
    yield Event(EventKind.UPDATE_STARTED, " ".join((f"By {config.author}.", config.reason)).strip(), config.version)
    for entity in config.entities:
        if entity.is_waiting:
            reason = f"{following.alias_of(entity)} leads nowhere yet."
            yield Event(EventKind.WAITING_FOR_MODEL, reason, config.version, entity.name)


def _followed_models(config: EndpointConfig | None) -> dict[str, ModelVersion | None]:
    """The models of those entities that follow an alias."""
    return {e.name: e.model for e in (config.entities if config is not None else ()) if e.follow_alias}


def _progress_events(was: EndpointConfig, comes: EndpointConfig) -> Iterator[Event]:
    for old, new in zip(was.entities, comes.entities, strict=True):
        if old.is_waiting and not new.is_waiting and new.model is not None:
            reason = f"{following.alias_of(new)} leads to version {new.model.version}."
            yield Event(EventKind.MODEL_FOUND, reason, comes.version, new.name)


def replica_events(before: Sequence[Replica], after: Sequence[Replica]) -> tuple[Event, ...]:
    """What happened to an endpoint's replicas between two looks at them."""
    olds = {replica.spec.slot: replica for replica in before}
    news = {replica.spec.slot: replica for replica in after}
    return tuple(event for slot in {**olds, **news} for event in _replica_events(olds.get(slot), news.get(slot)))


def _replica_events(old: Replica | None, new: Replica | None) -> Iterator[Event]:
    seen = new or old
    assert seen is not None  # noqa: S101 - one of the two it comes from

    def event(kind: EventKind, reason: str) -> Event:
        return Event(kind, f"{seen.spec.slot}: {reason}", seen.spec.config_version, seen.spec.entity_name)

    was = old.state if old is not None else None
    if new is None:
        if was is not ReplicaState.DRAINING:
            yield event(EventKind.REPLICA_STOPPED, "is gone.")
        return
    if new.state is ReplicaState.DRAINING:
        if was is not ReplicaState.DRAINING:
            yield event(EventKind.REPLICA_STOPPED, "finishes what it has.")
        return
    if new.state is ReplicaState.ASLEEP:
        if was not in {None, ReplicaState.ASLEEP}:
            yield event(EventKind.REPLICA_SLEPT, "sleeps; the next request wakes it.")
        return
    if was is ReplicaState.ASLEEP and new.was_woken:
        yield event(EventKind.REPLICA_WOKEN, "a request woke it.")
    deaths = old.deaths if old is not None else 0
    if new.deaths > deaths or (new.state is ReplicaState.RESTARTING and was is not ReplicaState.RESTARTING):
        yield event(EventKind.REPLICA_DIED, new.message or "died.")
    if new.state is ReplicaState.STARTING and was is not ReplicaState.STARTING:
        yield event(EventKind.REPLICA_STARTED, "starts." if old is None else "starts again.")
    if new.state is ReplicaState.READY and was is not ReplicaState.READY:
        yield event(EventKind.REPLICA_READY, "is ready.")
    elif new.check is not None and _tier_rank(new) < _tier_rank(old):
        yield event(EventKind.TIER_LOWERED, new.check.tier.reason)


def _tier_rank(replica: Replica | None) -> int:
    return 0 if replica is None or replica.check is None else replica.check.predict_tier.rank
