"""HTTP/1.1 for clients: bytes in, exchanges out; answers leave in the order in which requests came.

A connection works on one exchange at a time. What a client sends ahead (pipelining) is parsed and waits, and reading
pauses until its turn has come. Where an exchange's body goes is decided when its headers are there: `begin` returns a
sink, which takes the body whole, streams it, or throws it away.

A request that came in one piece, with a head that came before byte for byte, needs no parsing. All others are parsed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from penstock.domain.errors import BadRequest, PenstockError, RequestTooSlow
from penstock.gateway.exchange import Begin, Exchange
from penstock.gateway.head import MAX_HEAD_BYTES, Head, KnownHeads
from penstock.gateway.patience import BODY_STEP_BYTES, Awaited, Limits, Patience

_LINGER_S = 2.0
_IDLE_DRAIN_S = 1.0
"""How long a connection without a request is kept when the gateway drains."""
_OFFER_HEADERS = frozenset((b"connection", b"upgrade", b"http2-settings"))


class HttpConnection(asyncio.Protocol):
    """One client's connection."""

    def __init__(
        self,
        begin: Begin,
        connections: "set[HttpConnection]",
        known_heads: KnownHeads | None = None,
        note_slow: "Callable[[HttpConnection, bool], None] | None" = None,
    ) -> None:
        """Prepare for a client.

        Args:
            begin: chooses where an exchange's body goes.
            connections: of all clients; this one is among them while it is open.
            known_heads: what others have learned of heads.
            note_slow: told when the client falls behind with reading, and when it has caught up or is gone.
        """
        self._begin = begin
        self._connections = connections
        self._known_heads = known_heads or KnownHeads()
        self._note_slow = note_slow
        self._patience = Patience()
        self._requests = 0
        """How many have begun."""
        self._parsed_bytes = 0
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchanges: deque[Exchange] = deque()
        self._message: Head | None = None
        """Of the request of which something has come and something is still to come."""
        self._parsing: Head | None = None
        """The same until its head is whole."""
        self._last_bytes, self._last = b"", Head()
        """The head that was looked up last; at first one that no request has."""
        self._whole: list[Head] = []
        """Of the requests whose ends came with the bytes that came last."""
        self._offer: Head | None = None
        self._head_bytes = 0
        self._head_fed = 0
        self._body_is_paused = False
        self._is_reading = True
        self._is_deaf = False
        self._writable: asyncio.Future[None] | None = None
        self.is_draining = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the interface and another base
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connections.discard(self)
        self._transport = None
        self._is_deaf = True
        del self._parser  # it holds us: together we would stay until somebody looks for cycles
        self.resume_writing()
        exchanges, self._exchanges = list(self._exchanges), deque()
        for exchange in exchanges:
            exchange.abandon()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_deaf:
            return
        is_between_requests = not self._exchanges and self._message is None
        if is_between_requests and self._is_known(data):
            exchange = Exchange(self, self._last, data[len(self._last_bytes) :])
            self._requests += 1
            self._exchanges.append(exchange)
            exchange.begin(self._begin)
        else:
            self._parse(data, is_between_requests=is_between_requests)

    def _is_known(self, data: bytes) -> bool:
        """Whether this is one whole request with a head that came before: most often the last one of this client."""
        if data.startswith(self._last_bytes) and len(data) - len(self._last_bytes) == self._last.content_length:
            return True
        found = self._known_heads.find(data)
        if found is not None:
            self._last_bytes, self._last = found
        return found is not None

    def _parse(self, data: bytes, *, is_between_requests: bool) -> None:
        unfinished = self._parsing
        self._parsed_bytes += len(data)
        self._whole.clear()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._decline_offer(data[exc.args[0] :])
            return
        except httptools.HttpParserError as exc:
            cause = exc.__context__  # of our own callbacks, which raise what a caller is told
            self._give_up(cause if isinstance(cause, PenstockError) else BadRequest(f"Not HTTP/1.1: {exc}."))
            return
        if unfinished is not None and unfinished is self._parsing:
            self._head_fed += len(data)  # all of it is head, perhaps of one endless header
            if self._head_fed > MAX_HEAD_BYTES:
                self._give_up(_head_too_large())
                return
        if is_between_requests and self._message is None and len(self._whole) == 1:
            self._known_heads.remember(self._whole[0], data)
        self._adjust_reading()

    def on_message_begin(self) -> None:
        """A request begins (called by the parser)."""
        self._message = self._parsing = Head()
        self._requests += 1
        self._head_bytes = 0
        self._head_fed = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target (called by the parser)."""
        if self._parsing is not None:
            self._parsing.target += url
            self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header (called by the parser)."""
        if self._parsing is not None:  # else a trailer after a chunked body: nobody asked for it
            self._parsing.take(name, value)
            self._count_head(len(name) + len(value) + 4)

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        """The head is whole (called by the parser)."""
        head, self._parsing = self._parsing, None
        if head is None or self._is_deaf:
            return
        method = self._parser.get_method()
        keep_alive = method != b"CONNECT" and self._parser.should_keep_alive()
        head.complete(method, self._parser.get_http_version(), keep_alive=keep_alive)
        if method != b"CONNECT" and self._parser.should_upgrade():
            self._offer = head
            return
        exchange = Exchange(self, head)
        self._exchanges.append(exchange)
        if len(self._exchanges) == 1:
            exchange.begin(self._begin)

    def on_body(self, data: bytes) -> None:
        """A piece of the body (called by the parser)."""
        if self._exchanges:
            self._exchanges[-1].feed(data)

    def on_message_complete(self) -> None:
        """The request is whole (called by the parser)."""
        if self._message is not None:
            self._whole.append(self._message)
            self._message = None
        if self._exchanges and not self._exchanges[-1].is_complete:
            self._exchanges[-1].complete()

    @property
    def client_address(self) -> str:
        """From where the client reached us; empty if that cannot be told."""
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple | list) and peer else ""

    @property
    def unsent_bytes(self) -> int:
        """What has been written and the client has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send bytes, if the client is still there."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self, exchange: Exchange) -> None:
        """The exchange at the head has been answered: close, or begin the next."""
        if self._transport is None or not self._exchanges:
            return
        self._exchanges.popleft()
        self._body_is_paused = False
        if not exchange.keep_alive or self.is_draining:
            self._close(lingering=not exchange.is_complete)
        elif self._exchanges:
            asyncio.get_running_loop().call_soon(self._begin_next)
        if not self._is_reading:
            self._adjust_reading()

    def _begin_next(self) -> None:
        if self._exchanges:
            self._exchanges[0].begin(self._begin)
            self._adjust_reading()

    def look(self, now_s: float, limits: Limits) -> None:
        """See whether the client keeps us waiting for too long; called now and then."""
        awaited, progress = self._awaited()
        if not self._patience.is_over(awaited, progress, now_s, limits):
            return
        match awaited:
            case Awaited.REQUEST:
                self._close_if_idle()
            case Awaited.READING:
                self.abort()
            case Awaited.HEAD:
                self._give_up(RequestTooSlow(f"The request's head was not whole after {limits.head_s:g} s."))
            case Awaited.BODY:
                self._give_up(RequestTooSlow(f"The request's body did not go on for {limits.body_s:g} s."))

    def _awaited(self) -> tuple[Awaited, int]:
        """What the client is to do next, and a number that grows as it does."""
        if unsent := self.unsent_bytes:
            return Awaited.READING, -unsent
        if self._parsing is not None:
            return Awaited.HEAD, self._requests
        if not self._exchanges:
            return Awaited.REQUEST, self._requests
        if self._exchanges[-1].is_complete or not self._is_reading:
            return Awaited.NOTHING, 0
        return Awaited.BODY, self._parsed_bytes // BODY_STEP_BYTES

    def drain(self) -> None:
        """Close after the next answer; without a next request, after a while.

        A request that is on its way to an idle connection while it is closed would be lost, and not every client may
        send it again.
        """
        self.is_draining = True
        asyncio.get_running_loop().call_later(_IDLE_DRAIN_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._transport is None or self._exchanges:
            return
        is_all_sent = not self._transport.get_write_buffer_size()
        self._close()
        if is_all_sent:
            # Under TLS a close waits for the client's, and a client that is idle does not send it.
            asyncio.get_running_loop().call_later(_LINGER_S, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause_body(self, is_paused: bool) -> None:
        """Stop or resume reading, for the sake of a sink that is full."""
        self._body_is_paused = is_paused
        self._adjust_reading()

    def pause_writing(self) -> None:
        """The client is slow (called by the transport)."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()
            if self._note_slow is not None:
                self._note_slow(self, True)

    def resume_writing(self) -> None:
        """The client has caught up (called by the transport)."""
        if self._writable is None:
            return
        if not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        if self._note_slow is not None:
            self._note_slow(self, False)

    async def drained(self) -> None:
        """Wait until the client has caught up or is gone."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def _adjust_reading(self) -> None:
        is_to_read = not self._body_is_paused and len(self._exchanges) <= 1
        if is_to_read is self._is_reading or self._transport is None or self._transport.is_closing():
            return
        self._is_reading = is_to_read
        if is_to_read:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _give_up(self, error: PenstockError) -> None:
        """What comes is no HTTP: say so after what is being answered, and close."""
        is_over = self._is_deaf or (self._exchanges and not self._exchanges[-1].keep_alive)
        self._is_deaf = True
        self._parsing = None
        if is_over and not (self._exchanges and not self._exchanges[-1].is_complete):
            return  # nothing is to follow the last answer
        if not self._exchanges or self._exchanges[-1].is_complete:
            self._exchanges.append(Exchange(self, Head()))
        broken = self._exchanges[-1]
        broken.spoil(error)
        if self._exchanges and broken is self._exchanges[0]:
            broken.begin(self._begin)

    def _decline_offer(self, rest: bytes) -> None:
        """Another protocol was offered: go on with HTTP/1.1, as a server may.

        The parser stops after the head of such a request, so the same head without the offer is given to a new one.
        """
        offer, self._offer = self._offer, None
        if offer is None:  # CONNECT: what follows is for a tunnel that we do not open
            self._is_deaf = True
            return
        self._parser = httptools.HttpRequestParser(self)
        head = [b"%b %b HTTP/1.1\r\n" % (offer.method, offer.target)]
        head += [b"%b: %b\r\n" % pair for pair in offer.headers if pair[0].lower() not in _OFFER_HEADERS]
        if any(name.lower() == b"connection" and b"close" in value.lower() for name, value in offer.headers):
            head.append(b"connection: close\r\n")
        self.data_received(b"".join(head) + b"\r\n" + rest)

    def _close(self, *, lingering: bool = False) -> None:
        """Close after what was written has been sent.

        A client that is still sending would have its answer torn away by a hard close: it gets a while to read it.
        """
        if self._transport is None:
            return
        self._is_deaf = True
        if not lingering:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.close)


def _head_too_large() -> BadRequest:
    return BadRequest(f"The request's head is over the limit of {MAX_HEAD_BYTES} bytes.")
