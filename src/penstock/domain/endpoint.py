"""Endpoints: the config that serves, the config that is to come, and the words that tell of both.

The state machine is the contract's:

    create without config     NOT_READY  NOT_UPDATING   active -   pending -
    create with config        NOT_READY  IN_PROGRESS    active -   pending v1
    v1 ready                  READY      NOT_UPDATING   active v1  pending -
    v1 failed                 NOT_READY  UPDATE_FAILED  active -   pending v1
    new config                READY      IN_PROGRESS    active v1  pending v2
    v2 ready                  READY      NOT_UPDATING   active v2  pending -
    v2 failed                 READY      UPDATE_FAILED  active v1  pending v2

A pending config may also wait for a model: it is IN_PROGRESS, without a time limit, and gives way to any other config.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from penstock.domain.access import Grant
from penstock.domain.errors import CallerError, InvalidParameterValue, ResourceConflict
from penstock.domain.inference_log import AutoCapture
from penstock.domain.model_check import ModelCheck
from penstock.domain.predict_tier import PredictTier
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.secrets import Sealed
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.traffic import FULL, Route, check_routes

MAX_ENTITIES = 15

JsonObject = dict[str, Any]
"""A document that is validated at the edge and only kept here."""


class ConfigUpdate(StrEnum):
    """How the newest config of an endpoint stands."""

    NOT_UPDATING = "NOT_UPDATING"
    IN_PROGRESS = "IN_PROGRESS"
    UPDATE_FAILED = "UPDATE_FAILED"


class Deployment(StrEnum):
    """How one served entity stands."""

    CREATING = "DEPLOYMENT_CREATING"
    READY = "DEPLOYMENT_READY"
    RECOVERING = "DEPLOYMENT_RECOVERING"
    FAILED = "DEPLOYMENT_FAILED"
    ABORTED = "DEPLOYMENT_ABORTED"


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A numbered config: served entities and the split of traffic over them."""

    version: int
    entities: tuple[ServedEntity, ...]
    routes: tuple[Route, ...]
    started_at_ms: int = 0
    author: str = ""
    """The principal that gave it, or what did so in its place."""
    reason: str = ""
    """Why it came about, where that was not an update like any other."""
    checks: dict[str, ModelCheck] = field(default_factory=dict)
    """What was found out about the model of each entity, by its name, when the config came up or failed."""

    @property
    def is_waiting(self) -> bool:
        """Whether a served entity has no model yet."""
        return any(entity.is_waiting for entity in self.entities)

    @property
    def is_external(self) -> bool:
        """Whether it serves external models; they are not mixed with registered ones."""
        return any(entity.external is not None for entity in self.entities)

    def entity(self, name: str) -> ServedEntity | None:
        """The entity of that name."""
        return next((entity for entity in self.entities if entity.name == name), None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it is stored: what was asked for and how far it has come."""

    id: str
    name: str
    creator: str
    created_at_ms: int
    updated_at_ms: int
    description: str = ""
    route_optimized: bool = False
    tags: dict[str, str | None] = field(default_factory=dict)
    budget_policy_id: str | None = None
    email_notifications: dict[str, list[str]] = field(default_factory=dict)
    grants: tuple[Grant, ...] = ()
    """Who may do what with it, beside admins."""
    rate_limits: list[JsonObject] = field(default_factory=list)
    """Limits of the older route, as they came; nothing acts on them yet."""
    ai_gateway: JsonObject = field(default_factory=dict)
    """The AI Gateway's configuration, as it came; inference table and usage tracking act."""
    telemetry: JsonObject = field(default_factory=dict)
    """The telemetry configuration, as it came; the sampling of inference tables acts."""
    auto_capture: AutoCapture | None = None
    """The older form of an inference table, which comes with a config and stays."""
    active: EndpointConfig | None = None
    pending: EndpointConfig | None = None
    update: ConfigUpdate = ConfigUpdate.NOT_UPDATING
    failures: dict[str, str] = field(default_factory=dict)
    """For a failed pending config: the entities that failed, and why."""
    switching: bool = False
    """The pending config is ready and the gateways are being told to route to it."""
    stopped: bool = False
    last_version: int = 0
    rejected: dict[str, ModelVersion] = field(default_factory=dict)
    """Versions that a followed alias led to and that failed, by served entity: left alone until the alias moves."""
    lost_aliases: tuple[str, ...] = ()
    """Served entities whose followed alias is gone; they go on with the version that they have."""

    def sealed_for(self, deployment: str) -> dict[str, Sealed]:
        """The secrets that replicas of a deployment get, by variable."""
        for config in (self.active, self.pending):
            for entity in config.entities if config is not None else ():
                if entity.deployment_key(self.id) == deployment:
                    return entity.sealed
        return {}

    @property
    def is_updating(self) -> bool:
        """Whether a new config is on its way, other than one that waits for a model."""
        return self.update is ConfigUpdate.IN_PROGRESS and not self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether the new config waits for a model."""
        return self.update is ConfigUpdate.IN_PROGRESS and self.pending is not None and self.pending.is_waiting

    @property
    def routed(self) -> EndpointConfig | None:
        """The config that gateways should route by."""
        if self.stopped:
            return None
        return self.pending if self.switching else self.active

    @property
    def wanted(self) -> tuple[EndpointConfig, ...]:
        """The configs whose replicas should run."""
        if self.stopped:
            return ()
        pending = self.pending if self.is_updating else None
        return tuple(config for config in (self.active, pending) if config is not None)


@dataclass(frozen=True, slots=True)
class EntityStatus:
    """What is seen of one served entity."""

    deployment: Deployment
    message: str = ""
    ready: int = 0
    starting: int = 0
    draining: int = 0
    check: ModelCheck | None = None
    tier: PredictTier = PredictTier.MLFLOW
    """How directly the model is asked: the longest way among its replicas, if they differ."""


def check_config(entities: Sequence[ServedEntity], routes: Sequence[Route]) -> tuple[Route, ...]:
    """Check entities and routes together; return the routes with the default filled in.

    Raises:
        InvalidParameterValue: no entity, too many, two of one name, or routes that do not fit.
    """
    if not entities:
        raise InvalidParameterValue("served_entities: got none; wanted at least one.")
    if len(entities) > MAX_ENTITIES:
        raise InvalidParameterValue(f"served_entities: got {len(entities)}; wanted at most {MAX_ENTITIES}.")
    names = [entity.name for entity in entities]
    for index, name in enumerate(names):
        if names.index(name) != index:
            raise InvalidParameterValue(
                f"served_entities[{index}].name: '{name}' is the name of another served entity; give each its own."
            )
    tasks = {entity.external.task if entity.external else None for entity in entities}
    if len(tasks) > 1:
        raise InvalidParameterValue(
            "served_entities: external models cannot be mixed with registered ones, nor with those of another task."
        )
    if not routes:
        if len(entities) > 1:
            raise InvalidParameterValue(
                "traffic_config: missing; with more than one served entity it must say how traffic is split."
            )
        return (Route(names[0], FULL),)
    check_routes(routes, names)
    return tuple(routes)


def begin_update(
    endpoint: Endpoint,
    entities: Sequence[ServedEntity],
    routes: Sequence[Route],
    now_ms: int,
    author: str = "",
    reason: str = "",
) -> Endpoint:
    """The endpoint with a new pending config. What aliases have met so far is forgotten: somebody asks anew.

    Raises:
        ResourceConflict: an update is in progress.
        InvalidParameterValue: the endpoint would change between registered and external models.
    """
    check_not_updating(endpoint)
    if endpoint.active is not None and endpoint.active.is_external != (entities[0].external is not None):
        raise InvalidParameterValue(
            "served_entities: an endpoint cannot change between registered and external models; create another."
        )
    version = endpoint.last_version + 1
    return replace(
        endpoint,
        pending=EndpointConfig(version, tuple(entities), tuple(routes), now_ms, author, reason),
        update=ConfigUpdate.IN_PROGRESS,
        failures={},
        rejected={},
        lost_aliases=(),
        stopped=False,
        last_version=version,
        updated_at_ms=now_ms,
    )


def check_not_updating(endpoint: Endpoint) -> None:
    """Raise ResourceConflict while an update is in progress; one that waits for a model gives way."""
    if endpoint.is_updating:
        raise ResourceConflict(
            f"Endpoint '{endpoint.name}' is being updated to config version {endpoint.last_version}; "
            "wait until its state.config_update is no longer IN_PROGRESS."
        )


def switch(endpoint: Endpoint, checks: Mapping[str, ModelCheck] | None = None) -> Endpoint:
    """The pending config is ready, and keeps the checks of its models: gateways are to route to it."""
    return replace(endpoint, pending=_checked(endpoint.pending, checks), switching=True)


def complete(endpoint: Endpoint) -> Endpoint:
    """Every gateway routes by the pending config: it is the active one now."""
    return replace(endpoint, active=endpoint.pending, pending=None, switching=False, update=ConfigUpdate.NOT_UPDATING)


def fail(endpoint: Endpoint, failures: dict[str, str], checks: Mapping[str, ModelCheck] | None = None) -> Endpoint:
    """The pending config will not come up, and keeps what is known of its models; the active one goes on."""
    return replace(
        endpoint,
        pending=_checked(endpoint.pending, checks),
        switching=False,
        update=ConfigUpdate.UPDATE_FAILED,
        failures=failures,
        rejected={**endpoint.rejected, **_blamed(endpoint, failures)},
    )


def _blamed(endpoint: Endpoint, failures: dict[str, str]) -> dict[str, ModelVersion]:
    """The versions new to followers in a config that failed: of the entities that failed, or of all if of none."""
    before = {e.name: e.model for e in endpoint.active.entities} if endpoint.active is not None else {}
    tried = {
        entity.name: entity.model
        for entity in (endpoint.pending.entities if endpoint.pending is not None else ())
        if entity.follow_alias and entity.model is not None and entity.model != before.get(entity.name)
    }
    return {name: model for name, model in tried.items() if name in failures} or tried


def checks_of(endpoint: Endpoint, replicas: Iterable[Replica]) -> dict[str, ModelCheck]:
    """What replicas found out about the models of the pending config, by the entity's name."""
    checks = {replica.spec.deployment: replica.check for replica in replicas if replica.check is not None}
    entities = endpoint.pending.entities if endpoint.pending is not None else ()
    known = {entity.name: checks.get(entity.deployment_key(endpoint.id)) for entity in entities}
    return {name: check for name, check in known.items() if check is not None}


def known_check(endpoint: Endpoint, deployment: str, replicas: Iterable[Replica]) -> ModelCheck | None:
    """What is known of a deployment's model: told by one of its replicas, or kept with the active config."""
    told = [r.check for r in replicas if r.spec.deployment == deployment and r.check is not None]
    if told:
        return min(told, key=lambda check: check.predict_tier.rank)  # one whose tier was lowered knows best
    if endpoint.active is None:
        return None
    names = [entity.name for entity in endpoint.active.entities if entity.deployment_key(endpoint.id) == deployment]
    return next((endpoint.active.checks.get(name) for name in names), None)


def _checked(config: EndpointConfig | None, checks: Mapping[str, ModelCheck] | None) -> EndpointConfig | None:
    return None if config is None else replace(config, checks=dict(checks or {}))


def stop(endpoint: Endpoint, now_ms: int) -> Endpoint:
    """Release the endpoint's replicas; a config that waits for a model is dropped.

    Raises:
        ResourceConflict: an update is in progress.
        CallerError: the endpoint has no active config to stop.
    """
    check_not_updating(endpoint)
    if endpoint.active is None:
        raise CallerError(f"Endpoint '{endpoint.name}' has no active config, so there is nothing to stop.")
    if endpoint.is_waiting:
        endpoint = replace(endpoint, pending=None, update=ConfigUpdate.NOT_UPDATING)
    return replace(endpoint, stopped=True, updated_at_ms=now_ms)


def resealed(endpoint: Endpoint, reseal: Callable[[Sealed], Sealed]) -> Endpoint:
    """The endpoint with every sealed value in its configs sealed anew."""
    return replace(
        endpoint,
        active=None if endpoint.active is None else resealed_config(endpoint.active, reseal),
        pending=None if endpoint.pending is None else resealed_config(endpoint.pending, reseal),
    )


def resealed_config(config: EndpointConfig, reseal: Callable[[Sealed], Sealed]) -> EndpointConfig:
    """A config with every sealed value in it sealed anew."""
    entities = (
        replace(entity, sealed={name: reseal(sealed) for name, sealed in entity.sealed.items()})
        for entity in config.entities
    )
    return replace(config, entities=tuple(entities))


def is_ready(endpoint: Endpoint, replicas: Iterable[Replica]) -> bool:
    """Whether every served entity of the active config answers: a replica is ready, or sleeps until it is asked."""
    if endpoint.active is None or endpoint.stopped:
        return False
    replicas = list(replicas)
    return all(
        _answers(entity, _replicas_of(entity.deployment_key(endpoint.id), replicas))
        for entity in endpoint.active.entities
    )


def entity_status(
    endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity, replicas: Iterable[Replica]
) -> EntityStatus:
    """What to say of one entity of the active or the pending config."""
    own = _replicas_of(entity.deployment_key(endpoint.id), replicas)
    states = [replica.state for replica in own]
    check = config.checks.get(entity.name) or next((replica.check for replica in own if replica.check), None)
    seen: dict[str, Any] = {
        "check": check,
        "tier": tier_of(own) or (PredictTier.MLFLOW if check is None else check.predict_tier),
        "ready": states.count(ReplicaState.READY),
        "starting": states.count(ReplicaState.STARTING) + states.count(ReplicaState.RESTARTING),
        "draining": states.count(ReplicaState.DRAINING),
    }
    is_pending = endpoint.pending is not None and config.version == endpoint.pending.version
    if is_pending and endpoint.update is ConfigUpdate.UPDATE_FAILED:
        if entity.name in endpoint.failures:
            return EntityStatus(Deployment.FAILED, endpoint.failures[entity.name], **seen)
        message = "The deployment was aborted because another served entity of this config failed."
        return EntityStatus(Deployment.ABORTED, message, **seen)
    if endpoint.stopped:
        return EntityStatus(Deployment.ABORTED, "The endpoint is stopped.", **seen)
    story = max(own, key=lambda replica: replica.ended_at_ms).story if own else ""
    if seen["ready"]:
        return EntityStatus(Deployment.READY, story, **seen)
    if ReplicaState.ASLEEP in states:
        return EntityStatus(Deployment.READY, "Scaled to zero; the next request starts a replica.", **seen)
    if config.is_waiting:
        return EntityStatus(Deployment.CREATING, _wait_of(entity), **seen)
    if is_pending:
        return EntityStatus(Deployment.CREATING, story or "Creating resources for served entity.", **seen)
    if _answers(entity, own):
        return EntityStatus(Deployment.READY, "On its way to or from zero.", **seen)
    return EntityStatus(Deployment.RECOVERING, story or "No replica is ready; one is starting.", **seen)


def tier_of(replicas: Iterable[Replica]) -> PredictTier | None:
    """How directly replicas of one deployment ask their model: the longest way, if they differ."""
    tiers = (replica.check.predict_tier for replica in replicas if replica.check is not None)
    return min(tiers, key=lambda tier: tier.rank, default=None)


def _replicas_of(deployment: str, replicas: Iterable[Replica]) -> list[Replica]:
    return [replica for replica in replicas if replica.spec.deployment == deployment]


def _answers(entity: ServedEntity, own: Sequence[Replica]) -> bool:
    """Whether requests are answered, if need be after a start: one that may sleep is on its way from or to zero."""
    waking = {ReplicaState.STARTING, ReplicaState.DRAINING} if entity.sizing.scale_to_zero else set()
    return any(
        replica.state in {ReplicaState.READY, ReplicaState.ASLEEP} or (replica.state in waking and not replica.deaths)
        for replica in own
    )


def _wait_of(entity: ServedEntity) -> str:
    if entity.model is None or not entity.is_waiting:
        return "Waits until every served entity of this config has its model."
    return f"Waits for model '{entity.model.name}' alias '{entity.alias}'."
