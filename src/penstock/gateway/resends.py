"""Requests that come again: a client that gave up waiting and sends the same body finds the work that it left.

A prediction that a replica has begun goes on when its client leaves. An *orphan* takes the client's place: it waits for
the answer, and keeps it for a minute. The same request, when it comes meanwhile, takes the orphan's place in turn: it
waits for the same answer or gets the one that is kept, under the same request id. So what a client sends twice because
its patience is shorter than the model's work is worked on once, and answered once.

    client --leaves--> orphan --the same request--> client (--leaves--> orphan ...)

A request joins one orphan and an orphan is joined by one request. What two requests must share to be the same is who
asks, what is asked, and every byte of the body.
"""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, Protocol

from penstock.domain.prediction import Api
from penstock.gateway.call import Call, Recipient
from penstock.gateway.exchange import Headers

KEEP_S = 60.0
"""How long an answer waits for the request that comes again."""
MAX_ORPHANS = 1000
MAX_ORPHANED_BYTES = 256 << 20
"""Bodies of orphaned calls and answers that are kept, all together. Beyond either bound the oldest orphan is let go."""


class Asked(NamedTuple):
    """What two requests must have in common, beside their bodies, to be the same."""

    principal: str
    endpoint_id: str
    entity_name: str | None
    """The served entity, if the request named one."""
    api: Api
    content_type: bytes


class Timer(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None:
        """It will not happen."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after so many seconds."""


class Answer(NamedTuple):
    """What a client would have got."""

    status: int
    body: bytes
    headers: Headers


class Orphan:
    """Stands in for a client that has gone."""

    __slots__ = ("_orphans", "answer", "call", "digest", "is_open", "key", "on_gone", "size", "timer")

    def __init__(self, orphans: "Orphans", call: Call, key: tuple[Asked, int]) -> None:
        self._orphans = orphans
        self.call = call
        self.key = key
        self.digest = _digest(call.body)
        self.size = len(call.body)
        """Bytes that are held for its sake: of the request at first, of the answer once there is one."""
        self.answer: Answer | None = None
        self.timer: Timer | None = None
        self.is_open = True
        self.on_gone: Callable[[], None] | None = None

    def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """Keep the answer."""
        self.answer = Answer(status, body, tuple(headers))
        self._orphans.keep(self, len(body))

    def begin_stream(self, _status: int, _headers: Iterable[tuple[bytes, bytes]]) -> None:
        """It turns out to be a stream, of which nothing is kept: nobody waits for it."""
        self._orphans.let_go(self)
        if self.on_gone is not None:
            self.on_gone()

    def push(self, _data: bytes) -> int:
        """Nothing of a stream is kept."""
        return 0

    def end_stream(self) -> None:
        """Nothing of a stream is kept."""

    def break_off(self) -> None:
        """There is no connection to cut."""


class Orphans:
    """The calls of one gateway whose clients left before they were answered."""

    def __init__(self, later: Later, max_orphans: int = MAX_ORPHANS, max_bytes: int = MAX_ORPHANED_BYTES) -> None:
        self._later = later
        self._max_orphans = max_orphans
        self._max_bytes = max_bytes
        self._orphans: dict[Orphan, None] = {}
        """The oldest first."""
        self._by_key: dict[tuple[Asked, int], list[Orphan]] = {}
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._orphans)

    def adopt(self, asked: Asked, call: Call) -> Recipient:
        """What stands in for the client of a call that a replica has begun."""
        orphan = Orphan(self, call, (asked, len(call.body)))
        self._orphans[orphan] = None
        self._by_key.setdefault(orphan.key, []).append(orphan)
        self._held_bytes += orphan.size
        self._keep_bounds()
        return orphan

    def join(self, asked: Asked, body: bytes, client: Recipient) -> bool:
        """Give a client the answer, or the place, of an orphan of the same request; False if there is none.

        Nothing is hashed unless there is an orphan of the same principal, address and length.
        """
        candidates = self._by_key.get((asked, len(body))) if self._orphans else None
        if not candidates:
            return False
        digest = _digest(body)
        orphan = next((candidate for candidate in candidates if candidate.digest == digest), None)
        if orphan is None:
            return False
        answer = orphan.answer
        if answer is None:
            orphan.call.answer_to(client)
        else:
            client.respond(*answer)
        self.let_go(orphan)
        return True

    def keep(self, orphan: Orphan, size: int) -> None:
        """The answer has come: keep it for a while."""
        self._held_bytes += size - orphan.size
        orphan.size = size
        orphan.timer = self._later(KEEP_S, partial(self.let_go, orphan))
        self._keep_bounds()

    def let_go(self, orphan: Orphan) -> None:
        """Nobody is to join it any more. What is still being worked on is finished for nobody."""
        if orphan not in self._orphans:
            return
        del self._orphans[orphan]
        same = self._by_key[orphan.key]
        same.remove(orphan)
        if not same:
            del self._by_key[orphan.key]
        self._held_bytes -= orphan.size
        orphan.is_open = False
        orphan.answer = None
        if orphan.timer is not None:
            orphan.timer.cancel()

    def _keep_bounds(self) -> None:
        while len(self._orphans) > self._max_orphans or self._held_bytes > self._max_bytes:
            self.let_go(next(iter(self._orphans)))


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=32).digest()
