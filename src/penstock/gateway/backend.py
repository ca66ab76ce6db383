"""A served entity in the gateway: the queue of its calls and the replicas that take them.

A call goes to the ready replica with the fewest in flight. While none has room it waits, first come first served; the
same queue is the activator's: it holds calls while no replica is ready at all, for `hold_timeout_s` at most. The queue
is bounded: beyond its size a call is refused with 429.

Each slot that the routing table names has a link. An entity that sleeps has none: its first call opens one, and the
connection wakes the replica (the supervisor watches the sockets of those that sleep), with or without a control plane.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import ceil

from penstock.domain.errors import DeadlineExceeded, InternalError, ResourceExhausted, TemporarilyUnavailable
from penstock.domain.routing import RoutedEntity
from penstock.gateway.call import Call, CallState
from penstock.gateway.deadlines import Deadlines
from penstock.gateway.demand import Demand
from penstock.gateway.upstream import ReplicaLink

Recycle = Callable[[str, int, str], Awaitable[None]]
"""Asks the supervisor to replace a replica that hangs: slot, pid, reason."""

_STREAM_GRACE_S = 2.0
"""How long a stream past its time limit has to see that it was cancelled: it looks after every piece."""
_STUCK_CHECK_S = 0.1

_log = logging.getLogger(__name__)


def least_loaded(links: Sequence[ReplicaLink]) -> ReplicaLink | None:
    """The link with room and the fewest calls in flight."""
    best = None
    for link in links:
        if link.room > 0 and (best is None or link.in_flight < best.in_flight):
            best = link
    return best


class Backend:
    """The calls of one deployment of a served entity."""

    def __init__(
        self, entity: RoutedEntity, address_of: Callable[[str], str], hold_timeout_s: float, recycle: Recycle
    ) -> None:
        self.entity = entity
        self.demand = Demand(time.monotonic())
        self._address_of = address_of
        self._hold_timeout_s = hold_timeout_s
        self._recycle = recycle
        self._waiting: deque[Call] = deque()
        self._alone: deque[Call] = deque()
        """Calls with which a replica died; each is begun once more, on a replica that has nothing else to do."""
        self._unready_since_s: float | None = time.monotonic()
        self._hold_timer: asyncio.TimerHandle | None = None
        self._is_retired = False
        self._is_closing = False
        self._is_observing = False
        self._deadlines = Deadlines(self._expire)
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: list[ReplicaLink] = []
        self.route(entity)

    def route(self, entity: RoutedEntity) -> None:
        """Route as a newer table says of the same deployment: to more slots, to fewer, or to one that sleeps."""
        self.entity = entity
        for link in self._links:
            if link.slot not in entity.slots or (entity.is_asleep and not self._calls()):
                link.retire()
        if not entity.is_asleep:
            self._open_links()

    def needs(self, link: ReplicaLink) -> bool:
        """A link that lost its replica looks for the next one, unless that sleeps and nobody asks for it."""
        return not self.entity.is_asleep or bool(self._waiting or self._alone)

    def submit(self, call: Call) -> None:
        """Take a call; it is answered sooner or later, whatever happens."""
        if len(self._waiting) >= self.entity.queue_size and not self._make_place():
            message = (
                f"Too many concurrent requests: {self.entity.queue_size} are waiting for served entity "
                f"'{self.entity.name}' already. Send again later, or raise its provisioned concurrency."
            )
            call.refuse(ResourceExhausted(message))
            return
        call.lane = self._deadlines.add(self.entity.timeout_s, call)
        call.watch(partial(self._leave, call))
        link = None if self._waiting or self._alone else least_loaded(self._links)
        if link is not None:
            link.send(call)
            if not self._is_observing:
                self._observe_soon()
            return
        call.found_no_replica = not any(link.is_ready for link in self._links)
        self._waiting.append(call)
        if self.entity.is_asleep:
            self._open_links()
        self.on_room()

    def _make_place(self) -> bool:
        """Whether the queue is not so full after all: of clients that have gone, or of calls that have room now."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.is_wanted)
        return len(self._waiting) < max(self.entity.queue_size, sum(max(link.room, 0) for link in self._links))

    def take_over(self, call: Call) -> None:
        """Take a call that has waited elsewhere: with what is left of its time, and whatever waits here already."""
        left_s = call.ends_by_s - asyncio.get_running_loop().time()
        if call.lane is not None:
            call.lane.pop(call, None)
        call.lane = self._deadlines.add(ceil(max(left_s, 0)), call)  # whole seconds: a lane of deadlines for each
        call.watch(partial(self._leave, call))
        (self._alone if call.is_alone else self._waiting).append(call)
        if self.entity.is_asleep:
            self._open_links()
        self.on_room()

    def retire(self) -> None:
        """No new calls will come: what waits moves on, and the links close once what was sent is answered."""
        self._is_retired = True
        self._move_on()
        self._close_if_idle()

    def _move_on(self) -> None:
        """The replicas are about to go: no call is to wait for them any more."""
        held = [*self._waiting, *self._alone]
        self._waiting = deque(call for call in self._waiting if call.move_on is None)
        self._alone = deque(call for call in self._alone if call.move_on is None)
        for call in held:
            if call.is_wanted and call.move_on is not None:
                call.move_on(call)

    async def close(self) -> None:
        """Close all links now."""
        if self._hold_timer is not None:
            self._hold_timer.cancel()
        self._deadlines.close()
        for link in self._links:
            await link.close()

    def on_room(self) -> None:
        """Hand waiting calls to replicas that have room."""
        if self._waiting or self._alone or self._is_retired or self._unready_since_s is not None:
            self._hand_out()
        if not self._is_observing:
            self._observe_soon()

    def _observe_soon(self) -> None:
        """Tell the demand how many calls there are when this turn of the loop is over: once, whatever happens in it."""
        self._is_observing = True
        asyncio.get_running_loop().call_soon(self._observe)

    def _observe(self) -> None:
        self._is_observing = False
        self.demand.observe(self._calls(), time.monotonic())

    def _hand_out(self) -> None:
        if any(link.is_ready for link in self._links):
            self._unready_since_s = None
        kept_free = self._send_alone()
        links = self._links if kept_free is None else [link for link in self._links if link is not kept_free]
        while self._waiting:
            if not self._waiting[0].is_wanted:
                self._waiting.popleft()
                continue
            link = least_loaded(links)
            if link is None:
                self._watch_hold()
                return
            link.send(self._waiting.popleft())
        if self._alone:
            self._watch_hold()
        self._close_if_idle()

    def _send_alone(self) -> ReplicaLink | None:
        """Give calls that are to be alone to idle replicas; if one is left, the replica that is kept free for it."""
        while self._alone:
            if not self._alone[0].is_wanted:
                self._alone.popleft()
                continue
            link = least_loaded(self._links)
            if link is None or link.in_flight:
                return link
            link.send(self._alone.popleft())
        return None

    def on_lost(self, calls: list[Call]) -> None:
        """A replica is gone: what it had not begun goes back to the head of the queue.

        What it had begun may be what ended it: it is begun once more, alone, if that does no harm, or it has failed.
        """
        if self._unready_since_s is None and not any(link.is_ready for link in self._links):
            self._unready_since_s = time.monotonic()
        for call in reversed(calls):
            if call.state is CallState.SENT:
                call.state = CallState.WAITING
                self._waiting.appendleft(call)
            elif call.state is CallState.STARTED and call.is_wanted and call.retry_alone():
                self._alone.appendleft(call)
            elif call.state is CallState.STARTED:
                call.refuse(self._ended())
        if self._is_retired:
            self._move_on()
        self.on_room()

    def _ended(self) -> InternalError:
        return InternalError(
            f"The replica of served entity '{self.entity.name}' ended while it worked on this request."
        )

    def _leave(self, call: Call) -> None:
        """The client is gone: what has not started is dropped, a stream ends, a prediction at work goes on."""
        if call.outlive_recipient():
            return
        for link in self._links:
            link.cancel(call)
        call.drop()
        self.on_room()

    def _expire(self, call: Call) -> None:
        if call.state is CallState.FINISHED:
            return
        was_started = call.state is CallState.STARTED
        for link in self._links:
            link.cancel(call)
            if was_started and link.has(call):
                grace_s = _STREAM_GRACE_S if call.head is not None else 0
                asyncio.get_running_loop().call_later(grace_s, self._replace_if_stuck, link, call)
        what = "was worked on" if was_started else "waited for a replica"
        call.refuse(
            DeadlineExceeded(
                f"The request to served entity '{self.entity.name}' {what} past the time limit of "
                f"{self.entity.timeout_s:g} s."
            )
        )
        for link in self._links:
            link.note_expired(call)
        self.on_room()

    def _replace_if_stuck(self, link: ReplicaLink, call: Call) -> None:
        """A call ran past its time limit and does not end: nothing but a new process helps.

        What else the replica works on is not torn down with it: it takes no new calls, and is replaced after the last.
        """
        if link.has(call) and link.has_wanted():
            asyncio.get_running_loop().call_later(_STUCK_CHECK_S, self._replace_if_stuck, link, call)
        elif link.has(call) and link.pid is not None:
            reason = f"The replica was replaced: a request ran past the time limit of {self.entity.timeout_s:g} s."
            _log.warning("%s (slot %s)", reason, link.slot)
            self._spawn(self._recycle(link.slot, link.pid, reason))

    def _watch_hold(self) -> None:
        """No replica has room. If none is even ready, refuse the calls that have been held too long."""
        if self._unready_since_s is None or self._hold_timer is not None or not (self._waiting or self._alone):
            return
        arrived_s = self._waiting[0].arrived_s if self._waiting else self._alone[0].arrived_s
        held_since_s = max(arrived_s, self._unready_since_s)
        wait_s = held_since_s + self._hold_timeout_s - time.monotonic()
        self._hold_timer = asyncio.get_running_loop().call_later(max(wait_s, 0), self._end_hold)

    def _end_hold(self) -> None:
        self._hold_timer = None
        oldest_s = time.monotonic() - self._hold_timeout_s
        is_over = self._unready_since_s is not None and self._unready_since_s <= oldest_s
        while is_over and self._alone:
            self._alone.popleft().refuse(self._ended())  # not 503: nobody is to send again what may have ended it
        while is_over and self._waiting and self._waiting[0].arrived_s <= oldest_s:
            self._waiting.popleft().refuse(
                TemporarilyUnavailable(
                    f"No replica of served entity '{self.entity.name}' became ready within {self._hold_timeout_s:g} s."
                )
            )
        self.on_room()

    def _calls(self) -> int:
        """Calls that wait or are at work."""
        return len(self._waiting) + len(self._alone) + sum(link.in_flight for link in self._links)

    def _open_links(self) -> None:
        """A link for every slot of the entity."""
        self._links = [link for link in self._links if not link.is_closed]
        open_slots = {link.slot for link in self._links if not link.is_retiring}
        self._links += [
            ReplicaLink(slot, self._address_of(slot), self, self.entity.spin_us)
            for slot in self.entity.slots
            if slot not in open_slots
        ]

    def _close_if_idle(self) -> None:
        if self._is_retired and not self._is_closing and not self._calls():
            self._is_closing = True
            self._spawn(self.close())

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
