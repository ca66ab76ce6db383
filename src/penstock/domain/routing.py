"""The routing table: a versioned, immutable snapshot of all that gateways need to serve without the control plane."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from penstock.domain.access import Level, Principal, Scope, Token, agent_token, digest_of, identities
from penstock.domain.endpoint import ConfigUpdate, Endpoint, EndpointConfig
from penstock.domain.inference_log import NOTHING_LOGGED, InferenceLog
from penstock.domain.limits import Limits
from penstock.domain.replica import replica_specs
from penstock.domain.scaling import replicas_of
from penstock.domain.served_entity import ServedEntity
from penstock.domain.sessions import Session
from penstock.domain.spool_mode import SpoolMode


@dataclass(frozen=True, slots=True)
class RoutedEntity:
    """One served entity as gateways see it."""

    name: str
    id: str
    deployment: str
    slots: tuple[str, ...]
    percentage: int
    timeout_s: float
    queue_size: int
    is_asleep: bool = False
    """Its replica sleeps; the first connection to the slot wakes it."""
    spool_mode: SpoolMode = SpoolMode.AVAILABLE
    spin_us: int = 0
    """For how long to look for an answer before sleeping."""
    model_name: str = ""
    model_version: str = ""
    redacted: tuple[str, ...] = ()
    """Columns whose values are not logged."""


@dataclass(frozen=True, slots=True)
class RoutedEndpoint:
    """One endpoint as gateways see it. Without entities it answers every query with `reason`."""

    id: str
    name: str
    config_version: int = 0
    entities: tuple[RoutedEntity, ...] = ()
    reason: str = ""
    queriers: tuple[str, ...] = ()
    """Identities that may query it, beside admins."""
    log: InferenceLog = NOTHING_LOGGED


@dataclass(frozen=True, slots=True)
class Access:
    """Who a token stands for and what it opens."""

    principal: str
    scope: Scope = Scope.ALL
    groups: tuple[str, ...] = ()

    def may_query(self, endpoint: RoutedEndpoint) -> bool:
        """Whether it may send requests to an endpoint."""
        principal = Principal(self.principal, self.groups)
        return principal.is_admin or not identities(principal).isdisjoint(endpoint.queriers)


@dataclass(frozen=True, slots=True)
class RoutedSession:
    """Who a browser's session stands for, and until when."""

    access: Access
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """All endpoints by name, all tokens and, apart from them, all sessions by digest."""

    version: int = 0
    endpoints: dict[str, RoutedEndpoint] = field(default_factory=dict)
    access: dict[str, Access] = field(default_factory=dict)
    sessions: dict[str, RoutedSession] = field(default_factory=dict)

    def entities(self) -> Iterator[RoutedEntity]:
        """The served entities of all endpoints."""
        return (entity for endpoint in self.endpoints.values() for entity in endpoint.entities)

    def slots(self) -> frozenset[str]:
        """Every slot that a gateway holding this table may send requests to."""
        return frozenset(slot for entity in self.entities() for slot in entity.slots)

    def sleeping_slots(self) -> frozenset[str]:
        """Those of them that it connects to for a request only."""
        return frozenset(slot for entity in self.entities() if entity.is_asleep for slot in entity.slots)

    def scales(self) -> dict[str, int]:
        """How many replicas each deployment has; 0 if it sleeps."""
        return {entity.deployment: 0 if entity.is_asleep else len(entity.slots) for entity in self.entities()}


def build_table(
    endpoints: Iterable[Endpoint],
    tokens: Iterable[Token],
    system: Mapping[str, Access],
    limits: Limits,
    scales: Mapping[str, int],
    principals: Iterable[Principal] = (),
    replica_secret: str = "",
    sessions: Iterable[Session] = (),
    log_of: Callable[[Endpoint], InferenceLog] = lambda _: NOTHING_LOGGED,
) -> RoutingTable:
    """The table, still without a version, for these endpoints and tokens.

    Args:
        endpoints: all of them.
        tokens: of the principals.
        system: access of our own processes, by token digest.
        limits: with an entity's sizing they bound its number of replicas.
        scales: how many replicas the autoscaler wants, by deployment.
        principals: those that are in a group.
        replica_secret: what the tokens of agents are made of.
        sessions: of browsers.
        log_of: what of an endpoint's predictions is logged.
    """
    endpoints = list(endpoints)
    groups = {principal.name: principal.groups for principal in principals}

    def access_of(principal: str, scope: Scope = Scope.ALL) -> Access:
        return Access(principal, scope, groups.get(principal, ()))

    agents = {
        digest_of(agent_token(replica_secret, entity.deployment_key(endpoint.id))): access_of(
            endpoint.creator, Scope.AGENT
        )
        for endpoint in endpoints
        for config in endpoint.wanted
        for entity in config.entities
    }
    return RoutingTable(
        endpoints={
            endpoint.name: replace(_routed(endpoint, limits, scales), log=log_of(endpoint)) for endpoint in endpoints
        },
        access={**{token.digest: access_of(token.principal) for token in tokens}, **agents, **system},
        sessions={s.digest: RoutedSession(access_of(s.principal), s.expires_at_ms) for s in sessions},
    )


def succeed(previous: RoutingTable, content: RoutingTable) -> RoutingTable:
    """`content` under the next version, or `previous` itself if nothing in it changed."""
    if replace(content, version=previous.version) == previous:
        return previous
    return replace(content, version=previous.version + 1)


def _routed(endpoint: Endpoint, limits: Limits, scales: Mapping[str, int]) -> RoutedEndpoint:
    config = endpoint.routed
    queriers = tuple(grant.identity for grant in endpoint.grants if grant.level.covers(Level.CAN_QUERY))
    if config is None:
        return RoutedEndpoint(endpoint.id, endpoint.name, reason=_reason(endpoint), queriers=queriers)
    share = {route.entity_name: route.percentage for route in config.routes}
    return RoutedEndpoint(
        endpoint.id,
        endpoint.name,
        config.version,
        tuple(
            _routed_entity(endpoint, config, entity, share[entity.name], limits, scales) for entity in config.entities
        ),
        queriers=queriers,
    )


def _routed_entity(
    endpoint: Endpoint,
    config: EndpointConfig,
    entity: ServedEntity,
    percentage: int,
    limits: Limits,
    scales: Mapping[str, int],
) -> RoutedEntity:
    key = entity.deployment_key(endpoint.id)
    replicas = replicas_of(key, entity, limits, scales, config.checks.get(entity.name))
    specs = replica_specs(endpoint.id, endpoint.name, config.version, entity, max(replicas, 1), limits)
    return RoutedEntity(
        name=entity.name,
        id=entity.id,
        deployment=key,
        slots=tuple(spec.slot for spec in specs),
        percentage=percentage,
        timeout_s=entity.request_timeout_s(limits),
        queue_size=entity.queue_size(limits),
        is_asleep=not replicas,
        spool_mode=entity.spool_mode(limits),
        spin_us=entity.spin_us,
        model_name=entity.model.name if entity.model is not None else "",
        model_version=entity.model.version if entity.model is not None else "",
        redacted=entity.redacted_columns,
    )


def _reason(endpoint: Endpoint) -> str:
    if endpoint.stopped:
        return f"Endpoint '{endpoint.name}' is stopped; start it before you query it."
    if endpoint.pending is None:
        return f"Endpoint '{endpoint.name}' has no config yet; give it one before you query it."
    if endpoint.is_waiting:
        return f"Endpoint '{endpoint.name}' is not ready: it waits for a model. Its pending_config tells which."
    if endpoint.update is ConfigUpdate.UPDATE_FAILED:
        return f"Endpoint '{endpoint.name}' is not ready: its first deployment failed. Its pending_config tells why."
    return f"Endpoint '{endpoint.name}' is not ready: its first deployment is still in progress."
