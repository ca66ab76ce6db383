"""The follower: asks the registry where followed aliases lead, again and again, and stores what comes of it.

It decides nothing itself (`domain.following.follow` does), and what it stores goes the way of every update.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable, Iterable

from penstock.client.registry import Registry
from penstock.control.clock import now_ms
from penstock.control.publisher import Publisher
from penstock.domain.errors import InvalidParameterValue, ResourceDoesNotExist, TemporarilyUnavailable
from penstock.domain.following import AUTHOR, Alias, follow, followed_by, pause_s
from penstock.domain.served_entity import ModelVersion
from penstock.stores.database import Database

_log = logging.getLogger(__name__)


class Follower:
    """Keeps endpoints where their followed aliases lead."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        publisher: Publisher,
        wake: Callable[[Iterable[str]], None],
        poll_s: float,
    ) -> None:
        self._database = database
        self._registry = registry
        self._publisher = publisher
        self._wake = wake
        self._poll_s = poll_s

    async def run(self) -> None:
        """Look until cancelled; less often while the registry does not answer."""
        failures = 0
        while True:
            await asyncio.sleep(pause_s(self._poll_s, failures, random.random()))  # noqa: S311 - spreads load
            try:
                await self.look()
                failures = 0
            except TemporarilyUnavailable as exc:
                failures += 1
                _log.warning("aliases cannot be followed now: %s", exc)
            except Exception:  # noqa: BLE001 - the one place where a loop catches broadly: log and back off
                failures += 1
                _log.exception("following aliases failed")

    async def look(self) -> None:
        """Ask for every followed alias once, and bring endpoints to where they lead.

        Raises:
            TemporarilyUnavailable: the registry or the state database does not answer; what was seen until then counts.
        """
        aliases = {endpoint.name: followed_by(endpoint) for endpoint in self._database.endpoints()}
        seen: dict[Alias, ModelVersion | None] = {}
        try:
            for alias in _in_any_order(frozenset().union(*aliases.values())):
                await self._ask(alias, seen)
        finally:
            for name, own in aliases.items():
                if not own.isdisjoint(seen):
                    self._bring(name, seen)

    async def _ask(self, alias: Alias, seen: dict[Alias, ModelVersion | None]) -> None:
        try:
            seen[alias] = await self._registry.version_of_alias(str(alias), alias.model_name, alias.alias)
        except ResourceDoesNotExist:
            seen[alias] = None
        except InvalidParameterValue as exc:
            _log.info("%s leads to nothing that can be served yet: %s", alias, exc)

    def _bring(self, name: str, seen: dict[Alias, ModelVersion | None]) -> None:
        """Store what was seen means for one endpoint. It is loaded here and now: asking has taken time."""
        endpoint = self._database.endpoint(name)
        if endpoint is None:
            return
        changed = follow(endpoint, seen, now_ms(), lambda: uuid.uuid4().hex)
        if changed == endpoint:
            return
        _log.info("endpoint %s: what its aliases lead to has changed", name)
        self._database.save_endpoint(changed, AUTHOR)
        self._publisher.publish()
        self._wake([name])


def _in_any_order(aliases: frozenset[Alias]) -> list[Alias]:
    """An order of its own for every look, so that one alias at which the registry breaks does not hide the others."""
    return random.sample(sorted(aliases), len(aliases))
