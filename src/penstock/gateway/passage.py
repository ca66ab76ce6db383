"""A passage: all that is settled about a prediction before its body is seen.

For the same principal, address, content type and routing table it is the same, so it is worked out once and kept for
the next request of that kind.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec

from penstock.domain.routing import Access
from penstock.gateway.backend import Backend
from penstock.gateway.call import Call, OnEnd, Recipient
from penstock.gateway.capture import Capture, Captures
from penstock.gateway.head import Key
from penstock.gateway.load import LoadMeter
from penstock.gateway.table import RoutedTarget
from penstock.wire.frames import MetaForm, RequestMeta
from penstock.wire.siblings import Asked

_MAX_KNOWN = 4096


class Way(NamedTuple):
    """To one served entity."""

    backend: Backend
    on_end: OnEnd
    """Counts the answer."""
    capture: Capture | None
    """Logs what is asked and answered, if it is to be logged."""


class Passage:
    """From a request's head to the served entities of an endpoint."""

    __slots__ = (
        "_entity_name",
        "_request",
        "_target",
        "_thresholds",
        "_ways",
        "access",
        "asked",
        "generation",
        "meta",
        "move_on",
        "stand_in",
    )

    def __init__(
        self,
        target: RoutedTarget,
        asked: Asked,
        access: Access,
        generation: int,
        meter: LoadMeter,
        adopt: Callable[[Asked, Call], Recipient],
        move: "Callable[[Passage, Call], None]",
        captures: Captures | None = None,
    ) -> None:
        """Settle what can be.

        Args:
            target: the endpoint.
            asked: who asks for what.
            access: whose token it is.
            generation: of the table that `target` is from.
            meter: counts answers.
            adopt: makes what stands in for a client that has left.
            move: finds a new way for a call that went through this passage and still waits when its way ends.
            captures: make what logs predictions.
        """
        endpoint = target.endpoint.name
        self.access = access
        self.asked = asked
        self.generation = generation
        self._request = RequestMeta(asked.content_type.decode("latin-1"), asked.api, endpoint=endpoint)
        self.meta = MetaForm(self._request)
        self.stand_in = partial(adopt, asked)
        self.move_on = partial(move, self)
        self._target = target
        self._entity_name = asked.entity_name
        self._thresholds = target.thresholds
        self._ways = [
            Way(
                backend,
                meter.counter(endpoint, backend.entity.name).count,
                captures.capture(target.endpoint, backend.entity, asked) if captures is not None else None,
            )
            for backend in target.backends
        ]

    @property
    def endpoint_name(self) -> str:
        """The endpoint that was asked."""
        return self._target.endpoint.name

    def meta_in(self, traceparent: str) -> RequestMeta:
        """What goes to a replica beside the body of a request that belongs to a trace."""
        return msgspec.structs.replace(self._request, traceparent=traceparent)

    @property
    def is_open(self) -> bool:
        """Whether there is somewhere to go now."""
        entities = [way.backend.entity.name for way in self._ways]
        return bool(entities) and (self._entity_name is None or self._entity_name in entities)

    def choose(self, draw: Callable[[], float]) -> Way:
        """The way that a draw from [0, 1) falls on, or to the entity that was named.

        Raises:
            BadRequest: nothing serves; the message says why.
            ResourceDoesNotExist: there is no served entity of that name.
        """
        if self._ways and self._entity_name is None:
            return self._ways[bisect_right(self._thresholds, draw())]
        backend = self._target.choose(0) if self._entity_name is None else self._target.named(self._entity_name)
        return next(way for way in self._ways if way.backend is backend)


class KnownPassages(dict[Key, Passage]):
    """Passages by what they follow from, for one table. When there are too many it forgets them all."""

    def remember(self, key: Key, passage: Passage) -> None:
        """Keep a passage, and none through an earlier table."""
        known = next(iter(self.values()), passage)
        if len(self) >= _MAX_KNOWN or known.generation != passage.generation:
            self.clear()
        self[key] = passage
