"""The connections of all clients of a gateway: what they share, how long they are waited for, and how they end."""

import asyncio

from penstock.gateway.exchange import Begin
from penstock.gateway.head import KnownHeads
from penstock.gateway.http import HttpConnection
from penstock.gateway.patience import Limits

MAX_UNREAD_BYTES = 1 << 30
"""Answers that clients have not taken, all together. Beyond it the client with the most is cut off."""
_DRAIN_TIMEOUT_S = 30.0
_DRAIN_LOOK_S = 0.02
_LOOK_EVERY_S = 1.0
_LOOKS_AT_A_TIME = 200


class Clients:
    """Makes connections for servers, and looks after them."""

    def __init__(self, limits: Limits, max_unread_bytes: int = MAX_UNREAD_BYTES) -> None:
        self._limits = limits
        self._max_unread_bytes = max_unread_bytes
        self._connections: set[HttpConnection] = set()
        self._slow: set[HttpConnection] = set()
        self._known_heads = KnownHeads()

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def connection(self, begin: Begin) -> HttpConnection:
        """A new one, whose exchanges are begun so."""
        return HttpConnection(begin, self._connections, self._known_heads, self._note_slow)

    def _note_slow(self, connection: HttpConnection, is_slow: bool) -> None:
        if not is_slow:
            self._slow.discard(connection)
            return
        self._slow.add(connection)
        unread = {slow: slow.unsent_bytes for slow in self._slow}
        if sum(unread.values()) > self._max_unread_bytes:
            worst = max(unread, key=lambda slow: unread[slow])
            self._slow.discard(worst)
            worst.abort()

    async def watch(self) -> None:
        """Look at every connection about once a second, a few at a time; runs until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for count, connection in enumerate(list(self._connections), 1):
                connection.look(loop.time(), self._limits)
                if count % _LOOKS_AT_A_TIME == 0:
                    await asyncio.sleep(0)

    async def drain(self) -> None:
        """Wait until every connection has closed after what it is at, as long as it may take."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _DRAIN_TIMEOUT_S
        while self._connections and loop.time() < deadline:
            for connection in [connection for connection in self._connections if not connection.is_draining]:
                connection.drain()  # the last ones were accepted just before the servers closed
            await asyncio.sleep(_DRAIN_LOOK_S)
