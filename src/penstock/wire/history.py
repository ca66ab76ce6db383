"""The history of an endpoint and its events in JSON."""

from collections.abc import Iterable
from typing import Any

from penstock.domain.config_diff import Change
from penstock.domain.endpoint import EndpointConfig
from penstock.domain.events import PastEvent
from penstock.domain.history import ConfigVersion
from penstock.domain.served_entity import ServedEntity
from penstock.wire.model_check import encode_check
from penstock.wire.serving_endpoints import encode_entity, encode_traffic


def encode_event(past: PastEvent) -> dict[str, Any]:
    """One event."""
    event = past.event
    return {
        "at_ms": past.at_ms,
        "kind": event.kind.value,
        "config_version": event.config_version,
        "entity": event.entity,
        "reason": event.reason,
    }


def encode_version(version: ConfigVersion, changes: Iterable[Change] | None, active: int | None) -> dict[str, Any]:
    """One version of a config; `active` is the number of the one that serves."""
    config = version.config
    return {
        "config_version": config.version,
        "author": config.author,
        "reason": config.reason,
        "started_at_ms": config.started_at_ms,
        "outcome": version.outcome.value,
        "ended_at_ms": version.ended_at_ms,
        "failures": version.failures,
        "is_active": config.version == active,
        "changes": None if changes is None else encode_changes(changes),
        "config": {
            "served_entities": [_encode_entity(config, entity) for entity in config.entities],
            "traffic_config": encode_traffic(config.routes),
        },
    }


def _encode_entity(config: EndpointConfig, entity: ServedEntity) -> dict[str, Any]:
    """A served entity, with what was found out about its model if it came so far."""
    check = config.checks.get(entity.name)
    return encode_entity(entity) if check is None else {**encode_entity(entity), "check": encode_check(check)}


def encode_changes(changes: Iterable[Change]) -> list[dict[str, str | None]]:
    """Fields that differ."""
    return [{"field": change.field, "before": change.before, "after": change.after} for change in changes]
