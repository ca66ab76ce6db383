"""Use cases of endpoints: create, read, update, stop, start, delete.

Each checks everything first, then stores the desired state in one step and leaves the rest to the reconciler. Nothing
is stored for a request that is refused. Looking things up in the registry takes time, so what was checked before it is
checked again in the same step that stores.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from penstock.client.registry import Registry
from penstock.control.clock import now_ms
from penstock.control.cluster import Cluster
from penstock.control.publisher import Publisher
from penstock.control.secrets import Secrets
from penstock.domain.access import Grant, GranteeKind, Level
from penstock.domain.devices import lack
from penstock.domain.endpoint import (
    Deployment,
    Endpoint,
    EndpointConfig,
    EntityStatus,
    begin_update,
    check_config,
    check_not_updating,
    entity_status,
    is_ready,
    stop,
)
from penstock.domain.errors import CallerError, ResourceAlreadyExists, ResourceDoesNotExist
from penstock.domain.inference_log import AutoCapture, next_auto_capture
from penstock.domain.limits import Limits
from penstock.domain.names import check_endpoint_name
from penstock.domain.requests import ConfigRequest, EndpointRequest, EntityRequest
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.traffic import Route
from penstock.stores.database import Database

_SETTLE_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class Endpoints:
    """All that can be done with endpoints."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        cluster: Cluster,
        publisher: Publisher,
        secrets: Secrets,
        wake: Callable[[Iterable[str]], None],
        limits: Limits,
    ) -> None:
        self._database = database
        self._registry = registry
        self._cluster = cluster
        self._publisher = publisher
        self._secrets = secrets
        self._wake = wake
        self._limits = limits

    def all(self) -> list[Endpoint]:
        """All endpoints, oldest first."""
        return self._database.endpoints()

    def get(self, name: str) -> Endpoint:
        """The endpoint of that name.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        endpoint = self._database.endpoint(name)
        if endpoint is None:
            raise ResourceDoesNotExist(f"Endpoint with name '{name}' does not exist.")
        return endpoint

    def is_ready(self, endpoint: Endpoint) -> bool:
        """Whether every served entity of its active config has a ready replica."""
        return is_ready(endpoint, self._cluster.replicas_of(endpoint.name))

    def status(self, endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity) -> EntityStatus:
        """What is seen of one entity of one of its configs."""
        status = entity_status(endpoint, config, entity, self._cluster.replicas_of(endpoint.name))
        if status.deployment in (Deployment.CREATING, Deployment.RECOVERING):
            missing = lack(entity.sizing.workload_type, self._limits.gpus)
            return replace(status, message=missing or self._secrets.obstacle(entity) or status.message)
        return status

    async def create(self, request: EndpointRequest, creator: str) -> Endpoint:
        """Store a new endpoint.

        Raises:
            InvalidParameterValue: of any field; nothing is stored.
            ResourceAlreadyExists: the name is taken.
            ResourceDoesNotExist: a model, version or alias does not exist.
        """
        check_endpoint_name(request.name)
        if self._database.endpoint(request.name) is not None:
            raise ResourceAlreadyExists(f"Endpoint with name '{request.name}' already exists.")
        created_at_ms = now_ms()
        endpoint = Endpoint(
            id=uuid.uuid4().hex,
            name=request.name,
            creator=creator,
            grants=(Grant(GranteeKind.USER, creator, Level.CAN_MANAGE),),
            created_at_ms=created_at_ms,
            updated_at_ms=created_at_ms,
            description=request.description,
            route_optimized=request.route_optimized,
            tags=request.tags,
            budget_policy_id=request.budget_policy_id,
            email_notifications=request.email_notifications,
            rate_limits=request.rate_limits,
            ai_gateway=request.ai_gateway,
            telemetry=request.telemetry,
            auto_capture=_captured(None, request.config, request.name),
        )
        if request.config is not None:
            entities, routes = await self._resolve(request.config, creator, created_at_ms)
            sealed = self._sealed(request.config, entities, creator)
            endpoint = begin_update(endpoint, sealed, routes, created_at_ms, creator)
        self._database.insert_endpoint(endpoint)
        await self._announce(endpoint.name)
        return endpoint

    async def update_config(self, name: str, config: ConfigRequest, creator: str) -> Endpoint:
        """Store a new pending config.

        Raises:
            ResourceDoesNotExist: the endpoint, or a model, version or alias, does not exist.
            ResourceConflict: an update is in progress.
            InvalidParameterValue: of any field; nothing is stored.
        """
        check_not_updating(self.get(name))
        entities, routes = await self._resolve(config, creator, now_ms())
        before = self.get(name)
        capture = _captured(before.auto_capture, config, name)
        endpoint = begin_update(before, self._sealed(config, entities, creator), routes, now_ms(), creator)
        endpoint = replace(endpoint, auto_capture=capture)
        self._database.save_endpoint(endpoint, creator)
        self._publisher.publish()
        self._wake([name])
        return endpoint

    def change(self, name: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Change what an endpoint carries beside its config; returns it as it is stored now.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
            PenstockError: whatever `change` raises; nothing is stored then.
        """
        endpoint = replace(change(self.get(name)), updated_at_ms=now_ms())
        self._database.save_endpoint(endpoint)
        self._publisher.publish()
        return endpoint

    async def stop(self, name: str, caller: str) -> Endpoint:
        """Release the endpoint's replicas; queries are refused until it is started.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
            ResourceConflict: an update is in progress.
            CallerError: there is nothing to stop.
        """
        endpoint = stop(self.get(name), now_ms())
        self._database.save_endpoint(endpoint, caller)
        await self._announce(name)
        return endpoint

    async def start(self, name: str, caller: str) -> Endpoint:
        """Bring a stopped endpoint back, under a new version of the same config.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
            ResourceConflict: an update is in progress.
            CallerError: it is not stopped.
        """
        endpoint = self.get(name)
        check_not_updating(endpoint)
        if not endpoint.stopped or endpoint.active is None:
            raise CallerError(f"Endpoint '{name}' is not stopped.")
        entities = [replace(entity, id=uuid.uuid4().hex) for entity in endpoint.active.entities]
        reason = f"Version {endpoint.active.version} started again."
        endpoint = begin_update(endpoint, entities, endpoint.active.routes, now_ms(), caller, reason)
        self._database.save_endpoint(endpoint, caller)
        await self._announce(name)
        return endpoint

    async def delete(self, name: str, caller: str) -> None:
        """Forget the endpoint with its history and events; its replicas finish what they have.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        endpoint = self.get(name)
        self._database.delete_endpoint(endpoint.id)
        _log.info("endpoint %s (id %s) was deleted by %s", name, endpoint.id, caller)
        await self._announce(name)

    async def _resolve(
        self, config: ConfigRequest, creator: str, now_ms: int
    ) -> tuple[list[ServedEntity], tuple[Route, ...]]:
        entities = []
        for request in config.entities:
            model: ModelVersion | None = None
            if request.external is not None:
                pass  # no registry knows it
            elif request.alias is not None:
                model = await self._model_of_alias(request, request.alias)
            else:
                model = await self._registry.version(request.at, request.model_name, request.version or "")
            entities.append(request.resolved(uuid.uuid4().hex, model, creator, now_ms))
        return entities, check_config(entities, config.routes_for(entities))

    async def _model_of_alias(self, request: EntityRequest, alias: str) -> ModelVersion:
        """The version that an alias leads to; one to wait for if it is to be followed and leads nowhere yet."""
        try:
            return await self._registry.version_of_alias(request.at, request.model_name, alias)
        except ResourceDoesNotExist:
            if not request.follow_alias:
                raise
            return ModelVersion(request.model_name, "")

    def _sealed(self, config: ConfigRequest, entities: Sequence[ServedEntity], creator: str) -> list[ServedEntity]:
        """The entities with the secrets that they refer to, in the step that stores: no rotation comes between."""
        seal = self._secrets
        return [
            replace(
                entity,
                sealed={
                    **seal.sealed_for(f"{request.at}.environment_vars", request.environment, creator),
                    **seal.sealed_for(f"{request.at}.external_model", request.references, creator),
                    **{path: seal.seal(key) for path, key in request.plaintexts.items()},
                },
            )
            for request, entity in zip(config.entities, entities, strict=True)
        ]

    async def _announce(self, name: str) -> None:
        """Publish, wake the reconciler, and wait until gateways know: a query sent after the answer is answered right.

        If a gateway is slow the caller is not kept for ever; the table reaches it later.
        """
        self._publisher.publish()
        self._wake([name])
        await self._publisher.settled(_SETTLE_TIMEOUT_S)


def _captured(before: AutoCapture | None, config: ConfigRequest | None, name: str) -> AutoCapture | None:
    """The older form of an inference table after a config was given; the endpoint's name stands for its prefix."""
    wanted = config.auto_capture if config is not None else None
    if wanted is not None and not wanted.prefix:
        wanted = replace(wanted, prefix=name)
    return next_auto_capture(before, wanted)
