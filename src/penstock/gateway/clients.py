"""The connections of all clients of a gateway: what they share, and how they end."""

import asyncio

from penstock.gateway.exchange import Begin
from penstock.gateway.head import KnownHeads
from penstock.gateway.http import HttpConnection

_DRAIN_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.02


class Clients:
    """Makes connections for servers."""

    def __init__(self) -> None:
        self._connections: set[HttpConnection] = set()
        self._known_heads = KnownHeads()

    def connection(self, begin: Begin) -> HttpConnection:
        """A new one, whose exchanges are begun so."""
        return HttpConnection(begin, self._connections, self._known_heads)

    async def drain(self) -> None:
        """Wait until every connection has closed after what it is at, as long as it may take."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _DRAIN_TIMEOUT_S
        while self._connections and loop.time() < deadline:
            for connection in [connection for connection in self._connections if not connection.is_draining]:
                connection.drain()  # the last ones were accepted just before the servers closed
            await asyncio.sleep(_LOOK_EVERY_S)
