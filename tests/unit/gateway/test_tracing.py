"""Which predictions become spans, and what these say."""

from dataclasses import dataclass, field

import msgspec
import pytest

from penstock.domain.trace_context import TraceContext, parse_traceparent
from penstock.gateway.tracing import Span, TracedEnd, Tracing
from penstock.wire.frames import End

HEADER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = HEADER[:-1] + b"0"
NOTES = msgspec.json.encode(End(300_000))


@dataclass
class Kept:
    """An exporter that keeps what it gets."""

    spans: list[Span] = field(default_factory=list)

    def export(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        pass


counted: list[int] = []


def count(status: int, _total_s: float, _queued_s: float | None, _notes: bytes) -> None:
    counted.append(status)


@pytest.mark.parametrize(
    ("header", "fraction", "is_traced", "is_told"),
    [
        (None, 1.0, True, True),
        (None, 0.0, False, False),
        (b"nonsense", 0.0, False, False),
        (HEADER, 0.0, True, True),
        (UNSAMPLED, 1.0, False, True),
    ],
)
def test_p5_5_the_caller_decides_of_its_traces_and_the_fraction_of_others(
    header: bytes | None, fraction: float, is_traced: bool, is_told: bool
) -> None:
    traceparent, on_end = Tracing(Kept(), fraction, lambda: 0.5).begin(header, count, "e", "m")
    assert isinstance(on_end, TracedEnd) is is_traced
    assert bool(traceparent) is is_told


def test_p5_5_without_an_exporter_the_header_goes_on_as_it_came() -> None:
    assert Tracing().begin(HEADER, count, "e", "m") == (HEADER.decode(), count)
    assert Tracing().begin(None, count, "e", "m") == ("", count)


def test_p5_5_a_prediction_is_a_span_with_the_queue_and_the_model_under_it() -> None:
    kept = Kept()
    traceparent, on_end = Tracing(kept).begin(HEADER, count, "e", "m-1")
    counted.clear()
    on_end(200, 1.0, 0.5, NOTES)
    assert counted == [200]
    whole, queue, model = kept.spans
    parent = parse_traceparent(HEADER.decode())
    assert parent is not None
    assert {span.context.trace_id for span in kept.spans} == {parent.trace_id}
    assert (whole.parent_id, queue.parent_id, model.parent_id) == (
        parent.span_id,
        whole.context.span_id,
        whole.context.span_id,
    )
    assert parse_traceparent(traceparent) == TraceContext(parent.trace_id, model.context.span_id, is_sampled=True)
    lengths = [(span.end_ns - span.begin_ns) / 1e9 for span in kept.spans]
    assert lengths == pytest.approx([1.0, 0.5, 0.3])
    assert whole.attributes == {
        "penstock.endpoint": "e",
        "penstock.served_entity": "m-1",
        "http.response.status_code": 200,
    }


def test_p5_5_what_no_replica_answered_has_no_model_span() -> None:
    kept = Kept()
    _, on_end = Tracing(kept).begin(None, count, "e", "m-1")
    on_end(503, 2.0, None, b"")
    whole, queue = kept.spans
    assert (whole.is_error, whole.parent_id) == (True, None)
    assert queue.end_ns == whole.end_ns


def test_p5_5_a_call_that_moves_on_is_told_of_where_it_went() -> None:
    kept = Kept()
    _, on_end = Tracing(kept).begin(None, count, "e", "m-1")
    assert isinstance(on_end, TracedEnd)
    elsewhere: list[int] = []
    on_end.around(lambda status, *_: elsewhere.append(status), "m-2")(200, 1.0, 0.1, NOTES)
    assert elsewhere == [200]
    assert kept.spans[0].attributes["penstock.served_entity"] == "m-2"
