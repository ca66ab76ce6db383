"""Housekeeping: now and then, removes fetched models and logs of replicas that nobody needs any longer.

What is needed is looked up in the same step that takes a model out of use, and a model goes by a rename: a replica that
starts at that moment finds all of it, or nothing and fetches it anew.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from penstock.control.cluster import Cluster
from penstock.control.environments import models_in_use
from penstock.control.logs import replica_logs
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import PenstockError
from penstock.domain.housekeeping import KEPT_VERSIONS, unneeded_logs, unneeded_models
from penstock.domain.served_entity import ServedEntity
from penstock.stores.database import Database
from penstock.stores.fetched_models import delete, set_aside, stored_models
from penstock.stores.history import HistoryStore

_EVERY_S = 600.0
_UNTIL_KNOWN_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Keeps the home folder from growing for ever."""

    database: Database
    history: HistoryStore
    cluster: Cluster
    artifacts: Path
    logs: Path

    async def run(self) -> None:
        """Clean up at the start, and then slowly, until cancelled."""
        while not self.cluster.is_known:  # noqa: ASYNC110 - nothing tells of the first snapshot but a callback
            await asyncio.sleep(_UNTIL_KNOWN_S)
        while True:
            try:
                await self.clean_up()
            except (OSError, PenstockError) as exc:
                _log.warning("the home folder could not be cleaned up: %s", exc)
            await asyncio.sleep(_EVERY_S)

    async def clean_up(self) -> None:
        """One round.

        Raises:
            OSError, TemporarilyUnavailable: something cannot be read or removed.
        """
        logs = await asyncio.to_thread(replica_logs, self.logs, time.time())
        endpoints = self.database.endpoints()
        names = {endpoint.name for endpoint in endpoints} | self.cluster.endpoint_names()
        doomed_logs = unneeded_logs(logs, names, self._deployments(endpoints))
        aside = self._take_models_out_of_use(endpoints)
        await asyncio.to_thread(_remove, aside, [self.logs / path for path in doomed_logs])
        if aside or doomed_logs:
            _log.info("removed %d fetched models and %d log files", len(aside), len(doomed_logs))

    def _take_models_out_of_use(self, endpoints: list[Endpoint]) -> list[Path]:
        """Nothing is awaited here: no endpoint can be stored between the look at what is needed and the renames."""
        needed = set(models_in_use(endpoints))
        for endpoint in endpoints:
            for version in self.history.versions(endpoint.id, KEPT_VERSIONS):
                needed |= {entity.model.artifact_key for entity in version.config.entities if entity.model is not None}
        for name in self.cluster.endpoint_names():
            needed |= {replica.spec.model.artifact_key for replica in self.cluster.replicas_of(name)}
        there = stored_models(self.artifacts, time.time())
        return [set_aside(self.artifacts, name) for name in unneeded_models(there, needed)]

    def _deployments(self, endpoints: list[Endpoint]) -> set[str]:
        wanted = {entity.deployment_key(endpoint.id) for endpoint in endpoints for entity in _entities([endpoint])}
        for name in self.cluster.endpoint_names():
            wanted |= {replica.spec.deployment for replica in self.cluster.replicas_of(name)}
        return wanted


def _entities(endpoints: list[Endpoint]) -> list[ServedEntity]:
    return [
        entity
        for endpoint in endpoints
        for config in (endpoint.active, endpoint.pending)
        for entity in (config.entities if config is not None else ())
    ]


def _remove(models: list[Path], logs: list[Path]) -> None:
    for folder in models:
        delete(folder)
    for file in logs:
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()  # only if that was the last one
            file.parent.parent.rmdir()
