"""Spans to a collector, by OTLP over HTTP. Needs the extra `otel`; imported only where an address is set."""

import logging
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock import __version__
from penstock.domain.trace_context import TraceContext
from penstock.gateway.tracing import Span

MAX_WAITING_SPANS = 2048
"""What waits for the collector; more are dropped."""
_MAX_BATCH = 512
_SEND_EVERY_MS = 1000
_TIMEOUT_S = 5
_CLOSE_TIMEOUT_S = 2.0
_SCOPE = InstrumentationScope("penstock", __version__)


class OtlpExporter:
    """Hands spans to a thread that sends them in batches; a collector that is away costs spans, nothing else."""

    def __init__(self, address: str, gateway: str) -> None:
        """`address` is the collector's; `gateway` the name of this process."""
        self._resource = Resource({"service.name": "penstock", "service.instance.id": gateway})
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # else each attempt is a line
        sender = OTLPSpanExporter(f"{address.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
        self._processor = BatchSpanProcessor(
            sender,
            max_queue_size=MAX_WAITING_SPANS,
            schedule_delay_millis=_SEND_EVERY_MS,
            max_export_batch_size=_MAX_BATCH,
        )

    def export(self, span: Span) -> None:
        """Take a span, without waiting; one that there is no room for is dropped."""
        own = span.context
        parent = None if span.parent_id is None else TraceContext(own.trace_id, span.parent_id, own.is_sampled)
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=_context(own, is_remote=False),
                parent=None if parent is None else _context(parent, is_remote=span.is_server),
                resource=self._resource,
                attributes=span.attributes,
                kind=SpanKind.SERVER if span.is_server else SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR if span.is_error else StatusCode.UNSET),
                start_time=span.begin_ns,
                end_time=span.end_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Send what is left; a collector that does not take it at once does not get it."""
        closing = threading.Thread(target=self._processor.shutdown, name="close traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT_S)


def _context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, is_remote, flags)
