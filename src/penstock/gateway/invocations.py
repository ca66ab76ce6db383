"""Predictions, from a request's head to a call in its entity's queue.

The body is not looked into, with one exception: on the OpenAI-shaped routes the endpoint's name is in it.
"""

from collections.abc import Callable
from functools import partial

from penstock.domain.errors import PenstockError, PermissionDenied, UnsupportedMediaType
from penstock.domain.prediction import JSON, Api
from penstock.domain.routing import Access
from penstock.gateway.backend import Backend
from penstock.gateway.call import Call
from penstock.gateway.exchange import BodyBudget, Exchange, Sink
from penstock.gateway.load import LoadMeter
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.gateway.sinks import Discard, WholeBody
from penstock.gateway.table import CurrentTable, RoutedTarget
from penstock.wire.frames import RequestMeta
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

    def __init__(self, table: CurrentTable, draw: Draw, meter: LoadMeter, orphans: Orphans, siblings: Siblings) -> None:
        self._table = table
        self._meter = meter
        self._orphans = orphans
        self._siblings = siblings
        self._elsewhere = siblings.elsewhere
        self._draw = draw
        self._bodies = BodyBudget(MAX_HELD_BYTES)

    def begin(self, exchange: Exchange, access: Access, endpoint_name: str, entity_name: str | None) -> Sink:
        """The sink for a prediction's body; an endpoint that cannot answer is refused without reading it.

        What is left of an earlier request may answer even if nothing serves now: only the body tells.
        """
        try:
            target = self._target(access, endpoint_name)
            if not self._orphans and not self._elsewhere:
                self._choose(target, entity_name)
        except PenstockError as exc:
            return Discard(exchange, exc)

        return self._whole_body(
            exchange, partial(self._submit, exchange, access, endpoint_name, entity_name, Api.INVOCATIONS)
        )

    def begin_openai(self, exchange: Exchange, access: Access, api: Api) -> Sink:
        """The sink for a body whose `model` names the endpoint."""

        def submit(body: bytes) -> None:
            self._submit(exchange, access, model_of(body), None, api, body)

        return self._whole_body(exchange, submit)

    def _whole_body(self, exchange: Exchange, submit: Callable[[bytes], None]) -> Sink:
        return WholeBody(exchange, MAX_BODY_BYTES, partial(_or_refuse, exchange, submit), self._bodies)

    def _submit(
        self, exchange: Exchange, access: Access, endpoint_name: str, entity_name: str | None, api: Api, body: bytes
    ) -> None:
        target = self._target(access, endpoint_name)
        content_type = exchange.content_type or _DEFAULT_CONTENT_TYPE
        if len(content_type) > MAX_CONTENT_TYPE_BYTES:
            raise UnsupportedMediaType("The content type is none that the scorer reads; it is too long.")
        asked = Asked(access.principal, target.endpoint.id, entity_name, api, content_type)
        if self._orphans.join(asked, body, exchange):
            return
        if self._elsewhere and (found := self._elsewhere.find(asked, body)) is not None:
            submit = partial(self._submit, exchange, access, endpoint_name, entity_name, api)
            self._siblings.ask(found, exchange, partial(_or_refuse, exchange, submit, body))
            return
        backend = self._choose(target, entity_name)
        meta = RequestMeta(content_type.decode("latin-1"), api, endpoint=endpoint_name)
        name = backend.entity.name
        on_end = partial(self._meter.record, endpoint_name, name)
        backend.submit(Call(exchange, name, meta, body, on_end, partial(self._orphans.adopt, asked)))

    def _target(self, access: Access, endpoint_name: str) -> RoutedTarget:
        target = self._table.target(endpoint_name)
        if not access.may_query(target.endpoint):
            raise PermissionDenied(f"'{access.principal}' needs CAN_QUERY on endpoint '{endpoint_name}'.")
        return target

    def _choose(self, target: RoutedTarget, entity_name: str | None) -> Backend:
        return target.choose(self._draw()) if entity_name is None else target.named(entity_name)


def _or_refuse(exchange: Exchange, submit: Callable[[bytes], None], body: bytes) -> None:
    try:
        submit(body)
    except PenstockError as exc:
        exchange.refuse(exc)
