"""The trace that a model's own instrumentation left of one prediction, for callers that ask to see it."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import mlflow

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
