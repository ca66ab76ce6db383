"""Traces of predictions: what the caller says of its own is passed on, and spans are made where that is wanted.

A prediction is a span of the gateway's, with one for the time in the queue and one for the model under it. They are
made when the answer is there, from the times that are measured anyway; what a model adds to the trace comes under its
span. Without an exporter nothing is made, and `traceparent` goes to the model as it came.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from penstock.domain.trace_context import TraceContext, parse_traceparent
from penstock.gateway.call import OnEnd
from penstock.wire.frames import execution_us

_SERVER_ERROR = 500
_SPAN_BITS, _TRACE_BITS = 64, 128


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in a trace."""

    name: str
    context: TraceContext
    parent_id: int | None
    begin_ns: int
    end_ns: int
    attributes: dict[str, str | int] = field(default_factory=dict)
    is_server: bool = False
    """Whether it is the answer to a request from outside."""
    is_error: bool = False


class Exporter(Protocol):
    """Sends spans to where they are kept."""

    def export(self, span: Span) -> None:
        """Take a span, without waiting; one that there is no room for is dropped."""

    def close(self) -> None:
        """Send what is left, for as long as that may take."""


class TracedEnd:
    """Counts an answer as others are counted, and makes the spans of the prediction."""

    __slots__ = ("_attributes", "_begin_ns", "_context", "_exporter", "_model_id", "_on_end", "_parent_id")

    def __init__(
        self,
        exporter: Exporter,
        on_end: OnEnd,
        context: TraceContext,
        parent_id: int | None,
        model_id: int,
        attributes: dict[str, str | int],
    ) -> None:
        self._exporter = exporter
        self._on_end = on_end
        self._context = context
        self._parent_id = parent_id
        self._model_id = model_id
        self._attributes = attributes
        self._begin_ns = time.time_ns()

    def around(self, on_end: OnEnd, entity: str) -> "TracedEnd":
        """The same for another served entity, which counts in its own way."""
        self._on_end = on_end
        self._attributes["penstock.served_entity"] = entity
        return self

    def __call__(self, status: int, total_s: float, queued_s: float | None, notes: bytes) -> None:
        """The answer is there."""
        self._on_end(status, total_s, queued_s, notes)
        begin_ns, end_ns = self._begin_ns, self._begin_ns + int(total_s * 1e9)
        begun_ns = end_ns if queued_s is None else begin_ns + int(queued_s * 1e9)
        own = self._context.span_id
        name = f"predict {self._attributes['penstock.endpoint']}"
        told = {**self._attributes, "http.response.status_code": status}
        is_error = status >= _SERVER_ERROR
        self._export(Span(name, self._context, self._parent_id, begin_ns, end_ns, told, True, is_error))
        self._export(Span("queue", self._child(_id(_SPAN_BITS)), own, begin_ns, begun_ns))
        if notes:
            ended_ns = min(begun_ns + execution_us(notes) * 1000, end_ns)
            self._export(Span("model", self._child(self._model_id), own, begun_ns, ended_ns))

    def _child(self, span_id: int) -> TraceContext:
        return TraceContext(self._context.trace_id, span_id, is_sampled=True)

    def _export(self, span: Span) -> None:
        self._exporter.export(span)


class Tracing:
    """Decides what is traced."""

    def __init__(
        self,
        exporter: Exporter | None = None,
        fraction: float = 1.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Trace nothing yet.

        Args:
            exporter: takes spans; without one there are none.
            fraction: of the requests that are in no trace of their caller's; of those that are, the caller decides.
            draw: a random number from [0, 1).
        """
        self._exporter = exporter
        self._fraction = fraction
        self._draw = draw

    @property
    def makes_spans(self) -> bool:
        """Whether a request that says nothing of a trace may be traced."""
        return self._exporter is not None

    def begin(self, header: bytes | None, on_end: OnEnd, endpoint: str, entity: str) -> tuple[str, OnEnd]:
        """A prediction begins.

        Args:
            header: `traceparent`, if the request has one.
            on_end: counts the answer.
            endpoint: name of the endpoint.
            entity: name of the served entity.

        Returns:
            The `traceparent` for the model, empty if there is none, and what is to count the answer.
        """
        parent = None if header is None else parse_traceparent(header.decode("latin-1"))
        is_traced = self._draw() < self._fraction if parent is None else parent.is_sampled
        if self._exporter is None or not is_traced:
            return "" if parent is None else parent.header, on_end
        trace_id = _id(_TRACE_BITS) if parent is None else parent.trace_id
        context = TraceContext(trace_id, _id(_SPAN_BITS), is_sampled=True)
        model = TraceContext(trace_id, _id(_SPAN_BITS), is_sampled=True)
        attributes: dict[str, str | int] = {"penstock.endpoint": endpoint, "penstock.served_entity": entity}
        parent_id = None if parent is None else parent.span_id
        return model.header, TracedEnd(self._exporter, on_end, context, parent_id, model.span_id, attributes)


def _id(bits: int) -> int:
    """Random, and never 0, which would be none."""
    return random.getrandbits(bits) or 1
