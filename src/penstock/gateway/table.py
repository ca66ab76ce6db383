"""The routing table as the gateway uses it: addresses to targets, tokens to principals, swapped whole."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from penstock.domain.access import digest_of
from penstock.domain.errors import BadRequest, ResourceDoesNotExist
from penstock.domain.routing import Access, RoutedEndpoint, RoutedEntity, RoutedSession, RoutingTable
from penstock.domain.traffic import thresholds
from penstock.gateway.backend import Backend

MakeBackend = Callable[[RoutedEntity], Backend]


@dataclass(frozen=True, slots=True)
class RoutedTarget:
    """An endpoint, ready to choose from."""

    endpoint: RoutedEndpoint
    backends: tuple[Backend, ...]
    thresholds: tuple[float, ...]

    def choose(self, draw: float) -> Backend:
        """The backend that a draw from [0, 1) falls on.

        Raises:
            BadRequest: nothing serves; the message says why.
        """
        if not self.backends:
            raise BadRequest(self.endpoint.reason)
        return self.backends[bisect_right(self.thresholds, draw)]

    def named(self, entity_name: str) -> Backend:
        """The backend of one served entity, whatever its share of traffic.

        Raises:
            BadRequest: nothing serves; the message says why.
            ResourceDoesNotExist: there is no served entity of that name.
        """
        if not self.backends:
            raise BadRequest(self.endpoint.reason)
        for backend, entity in zip(self.backends, self.endpoint.entities, strict=True):
            if entity.name == entity_name:
                return backend
        raise ResourceDoesNotExist(
            f"Endpoint '{self.endpoint.name}' has no served entity '{entity_name}'; "
            f"it has {', '.join(entity.name for entity in self.endpoint.entities)}."
        )


class CurrentTable:
    """Holds one table at a time, and the backends of its deployments across tables."""

    def __init__(self, make_backend: MakeBackend) -> None:
        self._make_backend = make_backend
        self._backends: dict[str, Backend] = {}
        self._targets: dict[str, RoutedTarget] = {}
        self._access: dict[str, Access] = {}
        self._sessions: dict[str, RoutedSession] = {}
        self.version: int | None = None
        """Version of the table in use; None before the first."""
        self.generation = 0
        """How many tables have come: what was settled by an earlier one is to be settled anew."""

    def swap(self, table: RoutingTable) -> None:
        """Route by another table from now on. Deployments in both keep their queues and links."""
        backends: dict[str, Backend] = {}
        targets: dict[str, RoutedTarget] = {}
        for endpoint in table.endpoints.values():
            own = []
            for entity in endpoint.entities:
                backend = self._backends.get(entity.deployment)
                if backend is None:
                    backend = self._make_backend(entity)
                elif backend.entity != entity:
                    backend.route(entity)
                backends[entity.deployment] = backend
                own.append(backend)
            shares = thresholds([entity.percentage for entity in endpoint.entities])
            targets[endpoint.name] = RoutedTarget(endpoint, tuple(own), shares)
        retired = [backend for key, backend in self._backends.items() if key not in backends]
        self._backends, self._targets = backends, targets
        self._access, self._sessions = table.access, table.sessions
        self.version = table.version
        self.generation += 1
        for backend in retired:
            backend.retire()

    def demands(self, now_s: float) -> dict[str, float]:
        """Calls waiting or at work, on average since the last time, by deployment; without those that had none."""
        taken = {key: backend.demand.take(now_s) for key, backend in self._backends.items()}
        return {key: calls for key, calls in taken.items() if calls > 0}

    def target(self, endpoint_name: str) -> RoutedTarget:
        """The endpoint of that name.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        target = self._targets.get(endpoint_name)
        if target is None:
            raise ResourceDoesNotExist(f"Endpoint with name '{endpoint_name}' does not exist.")
        return target

    def open_to(self, access: Access) -> list[str]:
        """Names of the endpoints that somebody may query."""
        return [name for name, target in self._targets.items() if access.may_query(target.endpoint)]

    def access_of(self, token: str) -> Access | None:
        """Whom a token stands for."""
        return self._access.get(digest_of(token))

    def access_of_session(self, session_id: str, now_ms: float) -> Access | None:
        """Whom a browser's session stands for, unless its time is over."""
        session = self._sessions.get(digest_of(session_id))
        return session.access if session is not None and now_ms < session.expires_at_ms else None

    async def close(self) -> None:
        """Close every link."""
        await asyncio.gather(*(backend.close() for backend in self._backends.values()))
