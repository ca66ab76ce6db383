"""The metrics of an endpoint, for the last minute, under the names that Databricks' public documentation gives.

Request counts are gauges although their names end in `_total`: they go up and down with the minute. Every sample has
the time at which it was taken. A metric that does not apply is left out and not zero.
"""

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics

from penstock.domain.load import BOUNDS_MS, EntityLoad, EntityUsage, Times

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_LABELS = ("endpoint_name", "served_model_name")


def encode_metrics(
    endpoint: str, loads: Iterable[EntityLoad], usages: Iterable[EntityUsage], now_s: float, accept: str
) -> tuple[bytes, str]:
    """Body and content type for a client that accepts these types."""
    return expose(_families(endpoint, list(loads), list(usages), now_s), accept)


def expose(families: list[Metric], accept: str) -> tuple[bytes, str]:
    """Families, those without samples left out, as the body and content type for a client that accepts these types."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(registry), OPENMETRICS  # type: ignore[no-untyped-call]
    return generate_latest(registry), TEXT


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return [family for family in self._families if family.samples]


def _families(endpoint: str, loads: list[EntityLoad], usages: list[EntityUsage], now_s: float) -> list[Metric]:
    def gauge(name: str, text: str, values: Iterable[tuple[str, float | None]]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=_LABELS)
        for entity, value in values:
            if value is not None:
                family.add_metric([endpoint, entity], value, timestamp=now_s)
        return family

    def histogram(name: str, text: str, times: Iterable[tuple[str, Times]]) -> Metric:
        family = HistogramMetricFamily(name, text, labels=_LABELS)
        for entity, measured in times:
            family.add_metric(
                [endpoint, entity], buckets=_cumulative(measured), sum_value=measured.sum_ms, timestamp=now_s
            )
        return family

    def spread(name: str, text: str, field: str) -> Metric:
        family = GaugeMetricFamily(name, text, labels=(*_LABELS, "statistic"))
        for usage in usages:
            for statistic in ("avg", "min", "max") if usage.gpu is not None else ():
                value = getattr(getattr(usage.gpu, field), statistic)
                family.add_metric([endpoint, usage.entity, statistic], value, timestamp=now_s)
        return family

    return [
        gauge("cpu_usage_percentage", "Mean CPU use of the replicas, of a core.", _of(usages, "cpu_percent")),
        gauge("mem_usage_percentage", "Mean memory use of the replicas.", _of(usages, "memory_percent")),
        gauge(
            "provisioned_concurrent_requests_total",
            "Provisioned concurrency.",
            ((usage.entity, usage.concurrency) for usage in usages),
        ),
        gauge("request_count_total", "Requests.", ((load.entity, load.requests) for load in loads)),
        gauge("request_4xx_count_total", "Refused requests.", ((load.entity, load.client_errors) for load in loads)),
        gauge("request_5xx_count_total", "Failed requests.", ((load.entity, load.server_errors) for load in loads)),
        spread("gpu_usage_percentage", "Use of the replicas' GPUs.", "busy_percent"),
        spread("gpu_mem_usage_percentage", "Memory in use of the replicas' GPUs.", "memory_percent"),
        histogram("request_latency_ms", "Time to the answer.", ((load.entity, load.latency) for load in loads)),
        histogram("model_queue_time_ms", "Time until the model began.", ((load.entity, load.queue) for load in loads)),
        histogram("model_prediction_latency_ms", "Time of the model.", ((load.entity, load.model) for load in loads)),
    ]


def _cumulative(times: Times) -> list[tuple[str, float]]:
    """How many were at most each bound."""
    return list(zip((*map(str, BOUNDS_MS), "+Inf"), accumulate(times.buckets), strict=True))


def _of(usages: list[EntityUsage], name: str) -> Iterable[tuple[str, float | None]]:
    return ((usage.entity, getattr(usage, name)) for usage in usages)
