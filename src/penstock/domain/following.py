"""Following aliases: what an endpoint becomes once the registry was asked where its followed aliases lead.

It looks at where things stand and not at what happened: whoever moved an alias, and whenever, the same comes out. An
endpoint that is being updated, or is stopped, is left as it is until that has passed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from penstock.domain.endpoint import Endpoint, EndpointConfig, begin_update
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.served_entity import ModelVersion, ServedEntity

AUTHOR = "follow_alias"
"""Who gives the configs that a moved alias brings about."""
MAX_ALIAS_LENGTH = 255
_MAX_DOUBLINGS = 6
_MAX_BACK_OFF_S = 300.0

_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = re.compile(r"[vV][0-9]+")


@dataclass(frozen=True, slots=True, order=True)
class Alias:
    """A name in the registry that leads to one version of a model, and may be moved."""

    model_name: str
    alias: str

    def __str__(self) -> str:
        return f"models:/{self.model_name}@{self.alias}"


Seen = Mapping[Alias, ModelVersion | None]
"""Where aliases lead; None for one that there is not. Those that could not be asked for are missing."""


def check_followed_alias(field: str, alias: str) -> None:
    """Raise InvalidParameterValue unless the registry could ever have such an alias."""
    if not _ALIAS.fullmatch(alias) or len(alias) > MAX_ALIAS_LENGTH or _RESERVED.fullmatch(alias):
        shown = repr(alias if len(alias) <= MAX_ALIAS_LENGTH else alias[:MAX_ALIAS_LENGTH] + "…")
        raise InvalidParameterValue(
            f"{field}: got the alias {shown}; wanted 1 to {MAX_ALIAS_LENGTH} letters, digits, '-' and '_', "
            "and not a version such as 'v1'."
        )


def followed_by(endpoint: Endpoint) -> frozenset[Alias]:
    """The aliases that have to be asked for to know what becomes of an endpoint."""
    config = _followed_config(endpoint)
    return frozenset(_followed(config.entities if config is not None else ()))


def pause_s(poll_s: float, failures: int, draw: float) -> float:
    """How long to wait before asking again, after so many failures in a row; `draw` from [0, 1) spreads it a little."""
    backed_off = min(poll_s * 2.0 ** min(failures, _MAX_DOUBLINGS), max(poll_s, _MAX_BACK_OFF_S))
    return backed_off * (0.9 + 0.2 * draw)


def follow(endpoint: Endpoint, seen: Seen, now_ms: int, new_id: Callable[[], str]) -> Endpoint:
    """The endpoint as what was seen of its aliases wants it; the same if nothing is to be done."""
    config = _followed_config(endpoint)
    if config is None:
        return endpoint
    if endpoint.is_waiting:
        return _with_models_found(endpoint, config, seen, now_ms)
    endpoint = _noted(endpoint, config, seen)
    entities = [_led(entity, endpoint.rejected, seen) for entity in config.entities]
    moved = [entity for old, entity in zip(config.entities, entities, strict=True) if entity.model != old.model]
    if not moved:
        return endpoint
    updated = begin_update(
        endpoint,
        [replace(entity, id=new_id(), created_at_ms=now_ms) for entity in entities],
        config.routes,
        now_ms,
        AUTHOR,
        " ".join(_move_of(entity) for entity in moved),
    )
    return replace(updated, rejected=endpoint.rejected, lost_aliases=endpoint.lost_aliases)


def _followed_config(endpoint: Endpoint) -> EndpointConfig | None:
    """The config whose aliases are followed: one that waits, or the active one, or the first one if it failed."""
    if endpoint.is_updating or endpoint.stopped:
        return None
    config = endpoint.pending if endpoint.is_waiting else endpoint.active or endpoint.pending
    return config if config is not None and any(entity.follow_alias for entity in config.entities) else None


def _followed(entities: Iterable[ServedEntity]) -> Iterator[Alias]:
    for entity in entities:
        alias = alias_of(entity)
        if alias is not None:
            yield alias


def alias_of(entity: ServedEntity) -> Alias | None:
    """The alias that an entity follows; None if it follows none."""
    if not entity.follow_alias or entity.model is None or entity.alias is None:
        return None
    return Alias(entity.model.name, entity.alias)


def _with_models_found(endpoint: Endpoint, config: EndpointConfig, seen: Seen, now_ms: int) -> Endpoint:
    """The endpoint with models for those entities that waited; the time limit of its update begins with the last."""
    entities = tuple(_led(entity, {}, seen) if entity.is_waiting else entity for entity in config.entities)
    if entities == config.entities:
        return endpoint
    found = replace(config, entities=entities)
    return replace(endpoint, pending=found if found.is_waiting else replace(found, started_at_ms=now_ms))


def _noted(endpoint: Endpoint, config: EndpointConfig, seen: Seen) -> Endpoint:
    """The endpoint with what it remembers of aliases brought up to what was seen."""
    rejected, lost = {}, []
    for entity in config.entities:
        alias = alias_of(entity)
        if alias is None:
            continue
        is_lost = seen[alias] is None if alias in seen else entity.name in endpoint.lost_aliases
        if is_lost:
            lost.append(entity.name)
        avoided = endpoint.rejected.get(entity.name)
        if avoided is not None and (is_lost or seen.get(alias, avoided) == avoided):
            rejected[entity.name] = avoided
    return replace(endpoint, rejected=rejected, lost_aliases=tuple(lost))


def _led(entity: ServedEntity, rejected: Mapping[str, ModelVersion], seen: Seen) -> ServedEntity:
    """The entity with the version that its alias leads to, unless that one is gone or was tried and failed."""
    alias = alias_of(entity)
    model = seen.get(alias) if alias is not None else None
    if model is None or model == rejected.get(entity.name):
        return entity
    return replace(entity, model=model)


def _move_of(entity: ServedEntity) -> str:
    version = entity.model.version if entity.model is not None else ""
    return f"{alias_of(entity)} leads to version {version} now."
