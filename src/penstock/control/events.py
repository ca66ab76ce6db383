"""What happens to endpoints beside what is done to them: replicas that start, become ready, die and go.

What is done to an endpoint makes its events where it is stored, in the same transaction. What is told here is written
when it is seen, never on the way of a request. A state database that cannot be written to costs events, nothing else.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from penstock.control.clock import now_ms
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.events import Event, replica_events
from penstock.domain.replica import Replica
from penstock.stores.events import EventStore

_log = logging.getLogger(__name__)


class Events:
    """Records events; remembers the replicas that it has seen, to tell what has changed."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seen: dict[str, tuple[Replica, ...]] | None = None

    def record(self, events: Sequence[tuple[str, Event]]) -> None:
        """Store events, each with the id of its endpoint, in one transaction; they are lost if it fails."""
        if not events:
            return
        self._counts.update((endpoint_id, event.kind.value) for endpoint_id, event in events)
        try:
            self._store.add(events, now_ms())
        except TemporarilyUnavailable as exc:
            _log.warning("%d event(s) are lost, the first of which is %s: %s", len(events), events[0], exc)

    def counts_of(self, endpoints: Sequence[Endpoint]) -> dict[tuple[str, str], int]:
        """How often each kind was recorded since this process started, by the endpoint's name and the kind."""
        names = {endpoint.id: endpoint.name for endpoint in endpoints}
        return {(names[owner], kind): count for (owner, kind), count in self._counts.items() if owner in names}

    def keep(self, endpoints: Sequence[Endpoint]) -> None:
        """Forget the counts of endpoints that are not among these."""
        ids = {endpoint.id for endpoint in endpoints}
        self._counts = Counter({key: count for key, count in self._counts.items() if key[0] in ids})

    def look(self, names: Iterable[str], replicas_of: Callable[[str], tuple[Replica, ...]]) -> None:
        """Record what has happened to the replicas of the endpoints of these names since the last look.

        The first look records nothing: what it sees was there before this process.
        """
        now = {name: replicas_of(name) for name in names}
        if self._seen is not None:
            pairs = [(self._seen.get(name, ()), after) for name, after in now.items()]
            self.record([told for before, after in pairs for told in _told(before, after)])
        self._seen = {name: seen for name, seen in {**(self._seen or {}), **now}.items() if seen}


def _told(before: tuple[Replica, ...], after: tuple[Replica, ...]) -> list[tuple[str, Event]]:
    """Events of replicas by the id of their endpoint: one that was deleted and its namesake are two."""
    return [
        (endpoint_id, event)
        for endpoint_id in dict.fromkeys(replica.spec.endpoint_id for replica in (*before, *after))
        for event in replica_events(
            [replica for replica in before if replica.spec.endpoint_id == endpoint_id],
            [replica for replica in after if replica.spec.endpoint_id == endpoint_id],
        )
    ]
