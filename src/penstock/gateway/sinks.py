"""Where bodies go that are answered here: kept until they are whole, or thrown away and refused."""

from collections.abc import Callable, Mapping

from penstock.domain.errors import PayloadTooLarge, PenstockError, ResourceExhausted
from penstock.gateway.encodings import Unpacker
from penstock.gateway.exchange import BodyBudget, Exchange


class Discard:
    """Throws the body away and answers with an error once it is whole, or at once if it is very large."""

    MAX_BYTES = 64 << 20
    """More than this is not read to its end."""

    def __init__(self, exchange: Exchange, error: PenstockError, headers: Mapping[str, str] | None = None) -> None:
        self._exchange = exchange
        self.error = error
        """What it answers with."""
        self._headers = headers
        self._size = 0
        if exchange.expects_continue or (exchange.content_length or 0) > self.MAX_BYTES:
            self._exchange.refuse(self.error, self._headers)

    def feed(self, data: bytes) -> None:
        """Count and drop."""
        self._size += len(data)
        if self._size > self.MAX_BYTES:
            self._exchange.refuse(self.error, self._headers)

    def complete(self) -> None:
        """Answer."""
        self._exchange.refuse(self.error, self._headers)

    def abandon(self) -> None:
        """Nothing to undo."""


class WholeBody:
    """Keeps the body until it is whole; over the limit, or without room for it, it is discarded and refused.

    The body's share of the budget is given back when the exchange ends.
    """

    def __init__(
        self,
        exchange: Exchange,
        limit_bytes: int,
        then: Callable[[bytes], None],
        budget: BodyBudget | None = None,
    ) -> None:
        self._exchange = exchange
        self._limit = limit_bytes
        self._budget = budget
        self._then = then
        self._body: bytes | bytearray = b""
        self._discard: Discard | None = None
        if (exchange.content_length or 0) > limit_bytes:
            self._refuse(self._too_large())
        else:
            exchange.accept_body()

    def feed(self, data: bytes) -> None:
        """Keep."""
        if self._discard is not None:
            self._discard.feed(data)
            return
        if self._budget is not None and not self._exchange.hold(self._budget, len(data)):
            self._refuse(ResourceExhausted("The gateway holds as many request bodies as it may; send again later."))
            return
        if not self._body:
            self._body = data  # most bodies come in one piece
        else:
            # Pieces of a large body are not kept one by one: freed together, they would leave memory in tatters.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > self._limit:
            self._refuse(self._too_large())

    def complete(self) -> None:
        """Hand the body on."""
        if self._discard is not None:
            self._discard.complete()
        else:
            body, self._body = bytes(self._body), b""
            self._then(body)

    def abandon(self) -> None:
        """Drop what was kept."""
        self._body = b""

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The request body is over the limit of {self._limit} bytes.")

    def _refuse(self, error: PenstockError) -> None:
        self._body = b""
        self._discard = Discard(self._exchange, error)


class Unpacking:
    """Unpacks the body on its way to where it is kept; what cannot be unpacked is refused."""

    def __init__(self, exchange: Exchange, unpacker: Unpacker, then: WholeBody) -> None:
        self._exchange = exchange
        self._unpacker = unpacker
        self._then: WholeBody | Discard = then

    def feed(self, data: bytes) -> None:
        """Unpack."""
        if isinstance(self._then, Discard):
            self._then.feed(data)
            return
        try:
            unpacked = self._unpacker.feed(data)
        except PenstockError as exc:
            self._refuse(exc)
        else:
            self._then.feed(unpacked)

    def complete(self) -> None:
        """Hand the body on, if it is whole."""
        if not isinstance(self._then, Discard):
            try:
                self._unpacker.finish()
            except PenstockError as exc:
                self._refuse(exc)
        self._then.complete()

    def abandon(self) -> None:
        """Drop what was kept."""
        self._then.abandon()

    def _refuse(self, error: PenstockError) -> None:
        self._then.abandon()
        self._then = Discard(self._exchange, error)
