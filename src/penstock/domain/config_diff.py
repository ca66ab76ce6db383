"""What is different between two configs, field by field, in the words of the API."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.domain.endpoint import EndpointConfig
from penstock.domain.served_entity import ServedEntity

_ANOTHER = "(another value)"
_HIDDEN = "(a secret)"

Pair = tuple[ServedEntity | None, ServedEntity | None]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that is not what it was. What secrets hold is not in it: only that it is something else."""

    field: str
    before: str | None
    """None where there was nothing."""
    after: str | None
    """None where there is nothing any more."""


@dataclass(frozen=True, slots=True)
class _Fact:
    """What a field holds: as it is shown, and what tells apart two values that are shown alike."""

    shown: str
    identity: str = ""


def changes_between(before: EndpointConfig | None, after: EndpointConfig) -> tuple[Change, ...]:
    """Every field that differs, entity by entity; nothing if both say the same.

    Entities are the same if they have the same name. What is left over after that is paired by its model: mostly it is
    one entity whose default name has changed with its version.
    """
    pairs = _pairs(before.entities if before is not None else (), after.entities)
    return tuple(change for pair in pairs for change in _changes(pair, before, after))


def _pairs(before: tuple[ServedEntity, ...], after: tuple[ServedEntity, ...]) -> list[Pair]:
    olds = {entity.name: entity for entity in before}
    names = {entity.name for entity in after}
    left = [entity for entity in before if entity.name not in names]
    pairs: list[Pair] = []
    for entity in after:
        old = olds.get(entity.name) or next((one for one in left if _what(one) == _what(entity)), None)
        if old in left:
            left.remove(old)
        pairs.append((old, entity))
    return [*((old, None) for old in left), *pairs]


def _what(entity: ServedEntity) -> str:
    if entity.model is not None:
        return entity.model.name
    return entity.external.provider if entity.external is not None else ""


def _changes(pair: Pair, before: EndpointConfig | None, after: EndpointConfig) -> Iterator[Change]:
    old, new = pair
    named = new or old
    name = named.name if named is not None else ""
    olds = _facts(old, before) if old is not None and before is not None else {}
    news = _facts(new, after) if new is not None else {}
    for field in {**olds, **news}:
        was, comes = olds.get(field), news.get(field)
        if was == comes:
            continue
        shown = comes.shown if comes is not None else None
        if was is not None and shown == was.shown:
            shown = f"{shown} {_ANOTHER}"
        at = f"traffic_config[{name}]" if field == "traffic_percentage" else f"served_entities[{name}]"
        yield Change(f"{at}.{field}", was.shown if was is not None else None, shown)


def _facts(entity: ServedEntity, config: EndpointConfig) -> Mapping[str, _Fact]:
    """The fields of an entity that hold something, and its share of traffic."""
    sizing, model = entity.sizing, entity.model
    plain = {
        "name": entity.name,
        "entity_name": model.name if model is not None else None,
        "entity_version": model.version or None if model is not None else None,
        "entity_alias": entity.alias,
        "follow_alias": entity.follow_alias if entity.alias is not None else None,
        "workload_size": sizing.size,
        "workload_type": sizing.workload_type,
        "scale_to_zero_enabled": sizing.scale_to_zero,
        "min_provisioned_concurrency": sizing.min_concurrency,
        "max_provisioned_concurrency": sizing.max_concurrency,
        "instance_profile_arn": entity.instance_profile_arn,
        "traffic_percentage": next((r.percentage for r in config.routes if r.entity_name == entity.name), None),
    }
    facts = {field: _Fact(_text(value)) for field, value in plain.items() if value is not None}
    if model is not None and model.version:
        facts["entity_version"] = _Fact(model.version, str(model.created_at_ms))
    versions = {name: sealed.version for name, sealed in entity.sealed.items()}
    for name, value in entity.environment.items():
        facts[f"environment_vars.{name}"] = _Fact(value, versions.pop(name, ""))
    facts.update(_external_facts(entity))
    for path, version in versions.items():
        field = f"external_model.{entity.external.config_name if entity.external else ''}.{path}"
        facts[field] = _Fact(facts[field].shown if field in facts else _HIDDEN, version)
    return facts


def _external_facts(entity: ServedEntity) -> dict[str, _Fact]:
    external = entity.external
    if external is None:
        return {}
    facts = {"provider": external.provider, "name": external.name, "task": external.task}
    for field, value in external.config.items():
        nested = value if isinstance(value, dict) else {"": value}
        for key, text in nested.items():
            facts[".".join(part for part in (external.config_name, field, key) if part)] = text
    return {f"external_model.{field}": _Fact(_text(text)) for field, text in facts.items()}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
