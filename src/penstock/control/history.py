"""Use cases of history: what an endpoint's configs were, what happened to it, what is different, and undo."""

import uuid
from collections.abc import Callable, Iterable

from penstock.client.registry import Registry
from penstock.control.clock import now_ms
from penstock.control.publisher import Publisher
from penstock.control.secrets import Secrets
from penstock.domain.config_diff import Change, changes_between
from penstock.domain.endpoint import Endpoint, EndpointConfig, begin_update, check_not_updating
from penstock.domain.errors import InvalidParameterValue, ResourceDoesNotExist
from penstock.domain.events import PastEvent
from penstock.domain.history import ConfigVersion, restored_entities, version_of, version_to_restore
from penstock.stores.database import Database
from penstock.stores.events import EventStore
from penstock.stores.history import HistoryStore


class History:
    """All that can be done with the history of endpoints."""

    def __init__(
        self,
        database: Database,
        versions: HistoryStore,
        events: EventStore,
        registry: Registry,
        publisher: Publisher,
        secrets: Secrets,
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self._database = database
        self._versions = versions
        self._events = events
        self._registry = registry
        self._publisher = publisher
        self._secrets = secrets
        self._wake = wake

    def events(self, endpoint: Endpoint, limit: int) -> list[PastEvent]:
        """The newest events of an endpoint, the newest first."""
        return self._events.events(endpoint.id, limit)

    def versions(self, endpoint: Endpoint, limit: int) -> list[tuple[ConfigVersion, tuple[Change, ...] | None]]:
        """The newest versions, the newest first, each with what changed against the one before it.

        What changed is None if the version before is no longer kept.
        """
        versions = self._versions.versions(endpoint.id, limit + 1)
        configs = {version.config.version: version.config for version in versions}
        return [
            (version, _changes_of(version.config, configs.get(version.config.version - 1)))
            for version in versions[:limit]
        ]

    def diff(self, endpoint: Endpoint, first: int | None, second: int | None) -> tuple[int, int, tuple[Change, ...]]:
        """Two versions and what is different between them: by default the newest one and the one before it.

        Raises:
            ResourceDoesNotExist: a version is not kept, or there are no two.
        """
        versions = self._versions.versions(endpoint.id)
        if not versions:
            raise ResourceDoesNotExist(f"Endpoint '{endpoint.name}' has had no config yet.")
        newer = version_of(versions, second) if second is not None else versions[0]
        if first is None and newer.config.version == 1:
            raise ResourceDoesNotExist("Config version 1 is the first one: there is none to compare it with.")
        older = version_of(versions, newer.config.version - 1 if first is None else first)
        return older.config.version, newer.config.version, changes_between(older.config, newer.config)

    async def rollback(self, endpoint: Endpoint, wanted: int | None, caller: str) -> Endpoint:
        """Give an endpoint an earlier config once more, under a new version.

        Raises:
            ResourceConflict: an update is in progress.
            ResourceDoesNotExist: there is no such version, or a model version of it is gone.
            InvalidParameterValue: a model version is another one than then, or a secret cannot be opened any more.
            TemporarilyUnavailable: the registry does not answer.
        """
        check_not_updating(endpoint)
        version = version_to_restore(self._versions.versions(endpoint.id), endpoint.active, wanted)
        await self._check_that_models_are_there(version.config)
        entities = restored_entities(version.config, lambda: uuid.uuid4().hex)
        for entity in entities:
            if obstacle := self._secrets.obstacle(entity):
                raise InvalidParameterValue(f"config_version {version.config.version}: {obstacle}")
        reason = f"Rollback to version {version.config.version}."
        endpoint = begin_update(self._stored(endpoint), entities, version.config.routes, now_ms(), caller, reason)
        self._database.save_endpoint(endpoint, caller)
        self._publisher.publish()
        self._wake([endpoint.name])
        return endpoint

    def _stored(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as it is stored now.

        Raises:
            ResourceDoesNotExist: it was deleted meanwhile.
        """
        stored = self._database.endpoint_of_id(endpoint.id)
        if stored is None:
            raise ResourceDoesNotExist(f"Endpoint with name '{endpoint.name}' does not exist any more.")
        return stored

    async def _check_that_models_are_there(self, config: EndpointConfig) -> None:
        for entity in config.entities:
            if entity.model is None:
                continue
            at = f"config_version {config.version}, served entity '{entity.name}'"
            found = await self._registry.version(at, entity.model.name, entity.model.version)
            if found != entity.model:
                raise InvalidParameterValue(
                    f"{at}: {entity.model.uri} is not the model version that it was; it was deleted and made anew."
                )


def _changes_of(config: EndpointConfig, before: EndpointConfig | None) -> tuple[Change, ...] | None:
    return None if before is None and config.version > 1 else changes_between(before, config)
