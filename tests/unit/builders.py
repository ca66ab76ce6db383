"""Short ways to make domain objects: every argument has a default that a test may leave alone."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from penstock.domain.endpoint import (
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    EntityStatus,
    begin_update,
    check_config,
    complete,
    entity_status,
    switch,
)
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck, Sample
from penstock.domain.prediction import ExecutorKind
from penstock.domain.replica import Replica, ReplicaSpec, ReplicaState, replica_specs
from penstock.domain.scaling import replicas_of
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.sizing import Sizing
from penstock.domain.traffic import Route

ENDPOINT_ID = "e" * 32
CHECK = ModelCheck("3.11.9", "3.4.0", ExecutorKind.PROCESS, load_s=0.25, sample=Sample.ANSWERED, sample_ms=1.5)
LIMITS = Limits(cores=2, deploy_timeout_s=1200, request_timeout_s=297, queue_size=1000)


def limits_of(cores: int) -> Limits:
    """The limits of a machine with so many cores."""
    return replace(LIMITS, cores=cores)


def entity(
    version: str = "1",
    *,
    model: str = "m",
    name: str | None = None,
    sizing: Sizing | None = None,
    environment: Mapping[str, str] | None = None,
    created_at_ms: int = 0,
    **fields: object,
) -> ServedEntity:
    """One replica of a model's version, named as the default would name it."""
    return ServedEntity(
        id="1" * 32,
        name=name or f"{model}-{version}",
        model=ModelVersion(model, version, created_at_ms),
        sizing=sizing or Sizing(),
        environment=dict(environment or {}),
        **fields,  # type: ignore[arg-type]
    )


def empty_endpoint(name: str = "x") -> Endpoint:
    """An endpoint without a config."""
    return Endpoint(id=ENDPOINT_ID, name=name, creator="me", created_at_ms=1000, updated_at_ms=1000)


def updating(
    endpoint: Endpoint, *entities: ServedEntity, routes: tuple[Route, ...] = (), now_ms: int = 2000
) -> Endpoint:
    """The endpoint once a new config was put."""
    return begin_update(endpoint, entities, check_config(entities, routes), now_ms)


def live(*entities: ServedEntity, routes: tuple[Route, ...] = ()) -> Endpoint:
    """An endpoint that serves these entities, and nothing else is going on."""
    return complete(switch(updating(empty_endpoint(), *(entities or (entity(),)), routes=routes)))


def specs_of(
    endpoint: Endpoint,
    config: EndpointConfig | None,
    limits: Limits = LIMITS,
    scales: Mapping[str, int] = MappingProxyType({}),
) -> tuple[ReplicaSpec, ...]:
    """The replicas that serve a config; of an entity at zero the one that sleeps."""
    assert config is not None
    return tuple(
        spec
        for served in config.entities
        for spec in replica_specs(
            endpoint.id,
            endpoint.name,
            config.version,
            served,
            max(
                1,
                replicas_of(served.deployment_key(endpoint.id), served, limits, scales, config.checks.get(served.name)),
            ),
            limits,
        )
    )


def replicas(
    endpoint: Endpoint, config: EndpointConfig | None, state: ReplicaState = ReplicaState.READY, **fields: object
) -> list[Replica]:
    """All replicas of a config, in one state."""
    return [Replica(spec, state, **fields) for spec in specs_of(endpoint, config)]  # type: ignore[arg-type]


def failed_update(endpoint: Endpoint, failures: dict[str, str]) -> Endpoint:
    """The endpoint once its pending config was given up."""
    return replace(endpoint, update=ConfigUpdate.UPDATE_FAILED, failures=failures)


def status_from(endpoint: Endpoint, seen: list[Replica]) -> Callable[[EndpointConfig, ServedEntity], EntityStatus]:
    """Looks up statuses the way the control plane does."""
    return lambda config, served: entity_status(endpoint, config, served, seen)


async def until(claim: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until a claim is true; for states that nothing announces."""
    async with asyncio.timeout(timeout_s):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
