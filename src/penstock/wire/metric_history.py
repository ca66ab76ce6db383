"""The past of an endpoint's metrics as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.domain.load import Times
from penstock.domain.metric_history import Point

_DIGITS = 3


def encode_past(endpoint: str, resolution_s: int, past: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Points of an endpoint's entities. What there is nothing to tell of is left out."""
    return {
        "endpoint_name": endpoint,
        "resolution_s": resolution_s,
        "served_entities": [
            {"name": entity, "points": [_point(point, resolution_s) for point in points]}
            for entity, points in past.items()
        ],
    }


def _point(point: Point, resolution_s: int) -> dict[str, Any]:
    load = point.load
    times = {"latency_ms": point.latency, "queue_time_ms": point.queue, "model_latency_ms": point.model}
    document: dict[str, Any] = {
        "at_ms": point.at_s * 1000,
        "requests": load.requests,
        "requests_4xx": point.client_errors,
        "requests_5xx": point.server_errors,
        **{name: _times(measured) for name, measured in times.items() if measured.count},
    }
    if load.requests:
        document["gateway_latency_ms"] = {"mean": _rounded(load.gateway_ms / load.requests)}
        document["in_flight"] = _rounded(point.latency.sum_ms / 1000 / resolution_s)
    if point.watched_s:
        document["replicas"] = {"mean": _rounded(point.replica_s / point.watched_s), "max": point.most_replicas}
    if point.measured_s:
        document["cpu_percent"] = _rounded(point.cpu_percent_s / point.measured_s)
        document["memory_percent"] = _rounded(point.memory_percent_s / point.measured_s)
    return document


def _times(times: Times) -> dict[str, float | None]:
    shares = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    return {
        "mean": _rounded(times.mean_ms),
        **{name: _rounded(times.quantile_ms(share)) for name, share in shares},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
