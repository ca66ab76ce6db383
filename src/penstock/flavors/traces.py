"""Traces and models: the one that a model's own instrumentation left of a prediction, and the one that it belongs to.

The trace of the caller is OpenTelemetry's current context while the model works, where instrumented libraries and
`opentelemetry.trace.get_current_span()` find it. MLflow keeps its own traces in a context of their own, which is left
alone: a trace with a parent somewhere else would be none that its server stores.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import mlflow
from mlflow.tracing import provider
from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


def traced(predict: Callable[[], _T]) -> tuple[_T, dict[str, Any] | None]:
    """What a call gives, and the trace that was finished in this thread meanwhile.

    None if there is none, or if the tracking server does not give it back.
    """
    before = mlflow.get_last_active_trace_id(thread_local=True)
    result = predict()
    trace_id = mlflow.get_last_active_trace_id(thread_local=True)
    if trace_id is None or trace_id == before:
        return result, None
    try:
        mlflow.flush_trace_async_logging()
        trace = mlflow.get_trace(trace_id)
    except Exception as exc:  # noqa: BLE001 - the answer is there; a trace that is not must not cost it
        _log.warning("the trace %s cannot be had: %s", trace_id, exc)
        return result, None
    return result, None if trace is None else trace.to_dict()


def keeps_traces_apart() -> bool:
    """Whether this MLflow's traces have a context of their own; earlier ones take OpenTelemetry's for a parent."""
    return hasattr(provider, "mlflow_runtime_context")


@contextmanager
def within_trace(traceparent: str) -> Iterator[None]:
    """What is done inside belongs to this trace, for whoever asks OpenTelemetry."""
    token = context.attach(TraceContextTextMapPropagator().extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        context.detach(token)
