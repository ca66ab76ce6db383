"""A gateway's side for its siblings: tells them which orphans it holds, and gives one to the first that asks for it.

What asks is an exchange like any client's, and takes an orphan's place as a client would: if it goes away before it has
the answer, there is an orphan again.
"""

from functools import partial

from penstock.domain.errors import RouteNotFound, TemporarilyUnavailable
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.resends import Orphans
from penstock.gateway.sinks import Discard, WholeBody
from penstock.wire.messages import MAX_UNREAD_BYTES, encode_line
from penstock.wire.siblings import HELD_PATH, Change

_LINES = ((b"content-type", b"application/x-ndjson"),)


class Announcer:
    """Chooses the sink of every exchange with a sibling."""

    def __init__(self, orphans: Orphans) -> None:
        self._orphans = orphans
        self._listeners: set[Exchange] = set()
        self._is_closed = False
        orphans.watch(self._tell)

    def begin(self, exchange: Exchange) -> Sink:
        """Called when an exchange's headers are there."""
        path, _, request_id = exchange.target.decode("latin-1").rpartition("/")
        if exchange.target == HELD_PATH.encode():
            return WholeBody(exchange, 0, lambda _: self._announce(exchange))
        if path == HELD_PATH and exchange.method == b"POST":
            return WholeBody(exchange, 0, lambda _: self._give(exchange, request_id))
        return Discard(exchange, RouteNotFound("There is no such route between gateways."))

    def close(self) -> None:
        """Announce nothing more: nobody is to begin to count on this gateway. What was asked for is still given."""
        self._is_closed = True
        for listener in list(self._listeners):
            listener.end_stream()
        self._listeners.clear()

    def _announce(self, exchange: Exchange) -> None:
        if self._is_closed:
            exchange.refuse(TemporarilyUnavailable("The gateway is draining."))
            return
        exchange.begin_stream(200, _LINES)
        exchange.push(b"".join(map(encode_line, self._orphans.held())))
        exchange.on_gone = partial(self._listeners.discard, exchange)
        self._listeners.add(exchange)

    def _give(self, exchange: Exchange, request_id: str) -> None:
        if not self._orphans.give(request_id, exchange):
            exchange.respond(204, b"")

    def _tell(self, change: Change) -> None:
        if not self._listeners:
            return
        line = encode_line(change)
        for listener in list(self._listeners):
            if listener.push(line) > MAX_UNREAD_BYTES:
                self._listeners.discard(listener)
                listener.break_off()
