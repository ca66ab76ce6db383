"""Spans on their way to a collector that takes them, that is away, or that says nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.proto.trace.v1 import trace_pb2

from penstock.domain.trace_context import TraceContext
from penstock.gateway.otlp import MAX_WAITING_SPANS, OtlpExporter
from penstock.gateway.tracing import Span
from support.collector import attributes, collecting

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
OWN = TraceContext(TRACE, 7, is_sampled=True)


def test_p5_5_a_span_arrives_as_it_was() -> None:
    with collecting() as collector:
        exporter = OtlpExporter(f"{collector.address}/", "gateway-0")
        exporter.export(Span("predict e", OWN, 3, 1000, 5000, {"http.response.status_code": 500}, True, True))
        exporter.close()
        (span,) = collector.spans
    assert (span.name, span.trace_id, span.span_id, span.parent_span_id) == (
        "predict e",
        TRACE.to_bytes(16),
        (7).to_bytes(8),
        (3).to_bytes(8),
    )
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (1000, 5000)
    assert (span.kind, span.status.code) == (trace_pb2.Span.SPAN_KIND_SERVER, trace_pb2.Status.STATUS_CODE_ERROR)
    assert attributes(span) == {"http.response.status_code": 500}


@contextmanager
def bad_collector(kind: str) -> Iterator[str]:
    """The address of one that refuses connections, or that takes them and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "silent":
            listener.listen()
        yield "http://{}:{}".format(*listener.getsockname())


@pytest.mark.parametrize("kind", ["away", "silent"])
def test_p5_5_a_collector_that_takes_nothing_holds_up_nothing(kind: str) -> None:
    with bad_collector(kind) as address:
        exporter = OtlpExporter(address, "gateway-0")
        for number in range(1, 3 * MAX_WAITING_SPANS):
            exporter.export(Span("queue", TraceContext(TRACE, number, is_sampled=True), 7, 0, 1))
        done = threading.Event()
        closing = threading.Thread(target=lambda: (exporter.close(), done.set()))
        closing.start()
        assert done.wait(60)
        closing.join()
