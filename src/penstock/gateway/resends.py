"""Requests that come again: a client that gave up waiting and sends the same body finds the work that it left.

A prediction that a replica has begun goes on when its client leaves. An *orphan* takes the client's place: it waits for
the answer, and keeps it for a minute. The same request, when it comes meanwhile, takes the orphan's place in turn: it
waits for the same answer or gets the one that is kept, under the same request id. So what a client sends twice because
its patience is shorter than the model's work is worked on once, and answered once.

    client --leaves--> orphan --the same request--> client (--leaves--> orphan ...)

A request joins one orphan and an orphan is joined by one request. What two requests must share to be the same is who
asks, what is asked, and every byte of the body. Whoever watches is told of every orphan that comes to be and that is no
more: other gateways, which the request may come to, are.
"""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, Protocol

from penstock.gateway.call import Call, Recipient
from penstock.gateway.headers import Headers
from penstock.wire.siblings import Asked, Change, Held, LetGo

KEEP_S = 60.0
"""How long an answer waits for the request that comes again."""
MAX_ORPHANS = 1000
MAX_ORPHANED_BYTES = 256 << 20
"""Bodies of orphaned calls and answers that are kept, all together. Beyond either bound the oldest orphan is let go."""


class Timer(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None:
        """It will not happen."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after so many seconds."""


Told = Callable[[Change], None]
"""Is told of an orphan that has come to be, or that is no more."""


class Answer(NamedTuple):
    """What a client would have got."""

    status: int
    body: bytes
    headers: Headers


class Orphan:
    """Stands in for a client that has gone."""

    __slots__ = ("_orphans", "answer", "call", "held", "is_open", "on_gone", "size", "timer")

    def __init__(self, orphans: "Orphans", call: Call, asked: Asked) -> None:
        self._orphans = orphans
        self.call = call
        self.held = Held(
            call.request_id, asked, len(call.body), body_digest(call.body), call.ends_by_s, call.may_begin_again
        )
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
        self._orphans: dict[str, Orphan] = {}
        """By request id; the oldest first."""
        self.by_key: dict[tuple[Asked, int], list[Orphan]] = {}
        self._held_bytes = 0
        self._told: list[Told] = []

    def __len__(self) -> int:
        return len(self._orphans)

    def watch(self, told: Told) -> None:
        """Have somebody told of every change from now on."""
        self._told.append(told)

    def held(self) -> list[Held]:
        """All that there are; the oldest first."""
        return [orphan.held for orphan in self._orphans.values()]

    def adopt(self, asked: Asked, call: Call) -> Recipient:
        """What stands in for the client of a call that a replica has begun."""
        orphan = Orphan(self, call, asked)
        self._orphans[call.request_id] = orphan
        self.by_key.setdefault(key_of(orphan.held), []).append(orphan)
        self._held_bytes += orphan.size
        self._tell(orphan.held)
        self._keep_bounds()
        return orphan

    def join(self, asked: Asked, body: bytes, client: Recipient) -> bool:
        """Give a client the answer, or the place, of an orphan of the same request; False if there is none.

        Nothing is hashed unless there is an orphan of the same principal, address and length.
        """
        candidates = self.by_key.get((asked, len(body))) if self._orphans else None
        if not candidates:
            return False
        digest = body_digest(body)
        orphan = next((candidate for candidate in candidates if candidate.held.digest == digest), None)
        return orphan is not None and self.give(orphan.held.request_id, client)

    def give(self, request_id: str, client: Recipient) -> bool:
        """Give a client the answer, or the place, of an orphan; False if there is none of that id."""
        orphan = self._orphans.get(request_id)
        if orphan is None:
            return False
        if orphan.answer is None:
            orphan.call.answer_to(client)
        else:
            client.respond(*orphan.answer)
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
        request_id, key = orphan.held.request_id, key_of(orphan.held)
        if self._orphans.get(request_id) is not orphan:
            return
        del self._orphans[request_id]
        same = self.by_key[key]
        same.remove(orphan)
        if not same:
            del self.by_key[key]
        self._held_bytes -= orphan.size
        orphan.is_open = False
        orphan.answer = None
        if orphan.timer is not None:
            orphan.timer.cancel()
        self._tell(LetGo(request_id))

    def _tell(self, change: Change) -> None:
        for told in self._told:
            told(change)

    def _keep_bounds(self) -> None:
        while len(self._orphans) > self._max_orphans or self._held_bytes > self._max_bytes:
            self.let_go(next(iter(self._orphans.values())))


def key_of(held: Held) -> tuple[Asked, int]:
    """What is looked up before a body is hashed."""
    return held.asked, held.size_bytes


def body_digest(body: bytes) -> bytes:
    """What two bodies share only if they are the same."""
    return blake2b(body, digest_size=32).digest()
