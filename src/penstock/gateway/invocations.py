"""Predictions, from a request's head to a call in its entity's queue.

The body is not looked into, with one exception: on the OpenAI-shaped routes the endpoint's name is in it.
"""

from collections.abc import Callable
from functools import partial

from penstock.domain.errors import PenstockError, PermissionDenied, UnsupportedMediaType
from penstock.domain.prediction import JSON, Api
from penstock.domain.routing import Access
from penstock.gateway.call import Call
from penstock.gateway.capture import Captures
from penstock.gateway.encodings import unpacker_of
from penstock.gateway.exchange import NOWHERE, BodyBudget, Exchange, Sink
from penstock.gateway.load import LoadMeter
from penstock.gateway.passage import Passage
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.gateway.sinks import Discard, Unpacking, WholeBody
from penstock.gateway.table import CurrentTable
from penstock.gateway.tracing import TracedEnd, Tracing
from penstock.wire.frames import MetaForm, RequestMeta
from penstock.wire.openai import model_of
from penstock.wire.siblings import Asked

MAX_BODY_BYTES = 16 << 20
"""The documented limit of one request."""
MAX_HELD_BYTES = 1 << 30
"""Bodies that one gateway holds at a time, all together; beyond it requests are refused with 429."""
MAX_CONTENT_TYPE_BYTES = 1024
_DEFAULT_CONTENT_TYPE = JSON.encode()

Draw = Callable[[], float]
"""A random number from [0, 1)."""


class Invocations:
    """Begins predictions on the current table."""

    def __init__(
        self,
        table: CurrentTable,
        draw: Draw,
        meter: LoadMeter,
        orphans: Orphans,
        siblings: Siblings,
        captures: Captures | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._table = table
        self._meter = meter
        self._orphans = orphans
        self._siblings = siblings
        self._elsewhere = siblings.elsewhere
        self._draw = draw
        self._captures = captures
        self._tracing = tracing or Tracing()
        self._makes_spans = self._tracing.makes_spans
        self._bodies = BodyBudget(MAX_HELD_BYTES)

    def passage(
        self, access: Access, endpoint_name: str, entity_name: str | None, api: Api, content_type: bytes | None
    ) -> Passage:
        """What is settled about such a query by the current table.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
            PermissionDenied: it may not be queried by that principal.
            UnsupportedMediaType: the content type is too long to be one.
        """
        target = self._table.target(endpoint_name)
        if not access.may_query(target.endpoint):
            raise PermissionDenied(f"'{access.principal}' needs CAN_QUERY on endpoint '{endpoint_name}'.")
        if content_type is not None and len(content_type) > MAX_CONTENT_TYPE_BYTES:
            raise UnsupportedMediaType("The content type is none that the scorer reads; it is too long.")
        asked = Asked(access.principal, target.endpoint.id, entity_name, api, content_type or _DEFAULT_CONTENT_TYPE)
        generation = self._table.generation
        return Passage(target, asked, access, generation, self._meter, self._orphans.adopt, self._move, self._captures)

    def begin(self, exchange: Exchange, passage: Passage) -> Sink:
        """The sink for a prediction's body; an endpoint that cannot answer is refused without reading it.

        What is left of an earlier request may answer even if nothing serves now: only the body tells.
        """
        if not passage.is_open and not self._orphans and not self._elsewhere:
            try:
                passage.choose(self._draw)
            except PenstockError as exc:
                return Discard(exchange, exc)
        return self.enter(exchange, passage)

    def enter(self, exchange: Exchange, passage: Passage) -> Sink:
        """The same for a passage that was found open before."""
        body = None if exchange.head.content_encoding else exchange.take_body(self._bodies)
        if body is None:
            return self._whole_body(exchange, partial(self._submit, exchange, passage))
        try:
            self._submit(exchange, passage, body)
        except PenstockError as exc:
            exchange.refuse(exc)
        return NOWHERE

    def begin_openai(self, exchange: Exchange, access: Access, api: Api) -> Sink:
        """The sink for a body whose `model` names the endpoint."""

        def submit(body: bytes) -> None:
            passage = self.passage(access, model_of(body), None, api, exchange.content_type)
            self._submit(exchange, passage, body)

        return self._whole_body(exchange, submit)

    def _whole_body(self, exchange: Exchange, submit: Callable[[bytes], None]) -> Sink:
        try:
            unpacker = unpacker_of(exchange.head.content_encoding, MAX_BODY_BYTES)
        except PenstockError as exc:
            return Discard(exchange, exc)
        whole = WholeBody(exchange, MAX_BODY_BYTES, partial(_or_refuse, exchange, submit), self._bodies)
        return whole if unpacker is None else Unpacking(exchange, unpacker, whole)

    def _submit(self, exchange: Exchange, passage: Passage, body: bytes) -> None:
        if passage.generation != self._table.generation:  # another table came while the body did
            passage = self._renewed(passage)
        if (self._orphans.by_key or self._elsewhere.by_key) and self._is_sent_again(exchange, passage, body):
            return
        backend, on_end, capture = passage.choose(self._draw)
        if capture is not None and capture.fraction < 1 and self._draw() >= capture.fraction:
            capture = None
        name, stand_in, move_on = backend.entity.name, passage.stand_in, passage.move_on
        meta: MetaForm | RequestMeta = passage.meta
        if self._makes_spans or exchange.head.traceparent is not None:
            header = exchange.head.traceparent
            traceparent, on_end = self._tracing.begin(header, on_end, passage.endpoint_name, name)
            meta = passage.meta_in(traceparent)
        backend.submit(Call(exchange, name, meta, body, on_end, stand_in, capture, move_on))

    def _move(self, passage: Passage, call: Call) -> None:
        """A call's way has ended before a replica began with it: it goes the way that the current table has."""
        try:
            backend, on_end, capture = self._renewed(passage).choose(self._draw)
        except PenstockError as exc:
            call.refuse(exc)
            return
        if isinstance(call.on_end, TracedEnd):
            on_end = call.on_end.around(on_end, backend.entity.name)
        call.turn_to(backend.entity.name, on_end, capture)
        backend.take_over(call)

    def _is_sent_again(self, exchange: Exchange, passage: Passage, body: bytes) -> bool:
        """Whether the request finds the work that it left, here or at another gateway."""
        if self._orphans.join(passage.asked, body, exchange):
            return True
        found = self._elsewhere.find(passage.asked, body)
        if found is not None:
            submit = partial(self._submit, exchange, passage)
            self._siblings.ask(found, exchange, partial(_or_refuse, exchange, submit, body))
        return found is not None

    def _renewed(self, passage: Passage) -> Passage:
        asked = passage.asked
        return self.passage(passage.access, passage.endpoint_name, asked.entity_name, asked.api, asked.content_type)


def _or_refuse(exchange: Exchange, submit: Callable[[bytes], None], body: bytes) -> None:
    try:
        submit(body)
    except PenstockError as exc:
        exchange.refuse(exc)
