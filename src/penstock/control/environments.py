"""Removes Python environments that no model of any endpoint uses any more."""

import asyncio
import logging
from collections.abc import Iterable

from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import PenstockError
from penstock.runtime.environments import Environments
from penstock.stores.database import Database

SWEEP_INTERVAL_S = 3600.0

_log = logging.getLogger(__name__)


async def sweep_environments(database: Database, environments: Environments) -> None:
    """Look at the start and every hour, until cancelled. One in which a process runs is never removed."""
    while True:
        try:
            removed = await asyncio.to_thread(environments.sweep, models_in_use(database.endpoints()))
            for key in removed:
                _log.info("environment %s was removed: no endpoint uses it", key)
        except (OSError, PenstockError) as exc:
            _log.warning("environments cannot be removed: %s", exc)
        await asyncio.sleep(SWEEP_INTERVAL_S)


def models_in_use(endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """Keys of all models in stored configs, those of stopped endpoints included."""
    return frozenset(
        entity.model.artifact_key
        for endpoint in endpoints
        for config in (endpoint.active, endpoint.pending)
        if config is not None
        for entity in config.entities
        if entity.model is not None
    )
