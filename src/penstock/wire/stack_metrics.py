"""The metrics of a stack, as Prometheus scrapes them: what Databricks' names of an endpoint's metrics do not tell."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.domain.endpoint import EntityStatus
from penstock.domain.load import EntityLoad, EntityUsage, GatewayLoad
from penstock.domain.process_usage import ProcessUsage
from penstock.wire.metrics import expose

_ENTITY = ("endpoint_name", "served_model_name")
_PROCESS = ("role", "name", *_ENTITY)


@dataclass(frozen=True, slots=True)
class EntityMetrics:
    """What is told of a served entity."""

    endpoint: str
    entity: str
    status: EntityStatus
    load: EntityLoad
    """Since the control plane started."""
    usage: EntityUsage
    in_flight: float = 0.0


@dataclass(frozen=True, slots=True)
class StackMetrics:
    """What is told of a stack."""

    entities: Sequence[EntityMetrics]
    processes: Sequence[ProcessUsage] = ()
    gateways: Mapping[str, GatewayLoad] = field(default_factory=dict)
    records: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Records that each process with a spool has written, and those that it could not write."""
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """How often each kind of event happened, by the name of its endpoint and the kind."""


def encode_stack_metrics(metrics: StackMetrics, accept: str) -> tuple[bytes, str]:
    """Body and content type for a client that accepts these types."""
    families = [
        *_entity_families(metrics.entities),
        *_gateway_families(metrics.gateways),
        *_process_families(metrics.processes),
        _counter(
            "penstock_spool_records",
            "Records for tables.",
            ("name", "outcome"),
            (
                ((name, outcome), count)
                for name, (written, lost) in metrics.records.items()
                for outcome, count in (("written", written), ("lost", lost))
            ),
        ),
        _counter(
            "penstock_events",
            "What was seen to happen to endpoints, by kind of event.",
            ("endpoint_name", "kind"),
            metrics.events.items(),
        ),
    ]
    return expose(families, accept)


def _entity_families(entities: Sequence[EntityMetrics]) -> list[Metric]:
    replicas = GaugeMetricFamily("penstock_replicas", "Replicas of a served entity.", labels=(*_ENTITY, "state"))
    tiers = GaugeMetricFamily(
        "penstock_predict_tier", "1: how directly the model is asked.", labels=(*_ENTITY, "predict_tier")
    )
    requests = CounterMetricFamily("penstock_requests", "Requests answered.", labels=(*_ENTITY, "outcome"))
    seconds = CounterMetricFamily(
        "penstock_request_seconds", "Time of these requests, by where it went.", labels=(*_ENTITY, "part")
    )
    for told in entities:
        labels, status, load = [told.endpoint, told.entity], told.status, told.load
        for state, count in (("ready", status.ready), ("starting", status.starting), ("draining", status.draining)):
            replicas.add_metric([*labels, state], count)
        if status.check is not None:
            tiers.add_metric([*labels, status.tier.value], 1)
        good = load.requests - load.client_errors - load.server_errors
        for outcome, count in (("ok", good), ("4xx", load.client_errors), ("5xx", load.server_errors)):
            requests.add_metric([*labels, outcome], count)
        parts = (("queue", load.queue.sum_ms), ("model", load.model.sum_ms), ("gateway", load.gateway_ms))
        for part, spent_ms in parts:
            seconds.add_metric([*labels, part], spent_ms / 1000)
    return [
        replicas,
        tiers,
        requests,
        seconds,
        _gauge(
            "penstock_requests_in_flight",
            "Requests waiting or at work, on average over the last second.",
            _ENTITY,
            (((told.endpoint, told.entity), told.in_flight) for told in entities),
        ),
        _gauge(
            "penstock_replica_cpu_percent",
            "Mean CPU use of the replicas, of a core.",
            _ENTITY,
            (((told.endpoint, told.entity), told.usage.cpu_percent) for told in entities),
        ),
        _gauge(
            "penstock_replica_memory_percent",
            "Mean memory use of the replicas, of the machine's.",
            _ENTITY,
            (((told.endpoint, told.entity), told.usage.memory_percent) for told in entities),
        ),
    ]


def _gateway_families(gateways: Mapping[str, GatewayLoad]) -> list[Metric]:
    def passed_on() -> Iterable[tuple[Sequence[str], float]]:
        return (((name, to), count) for name, load in gateways.items() for to, count in load.passed_on.items())

    def refused() -> Iterable[tuple[Sequence[str], float]]:
        return (((name, code), count) for name, load in gateways.items() for code, count in load.refused.items())

    return [
        _gauge(
            "penstock_connections",
            "Open connections of clients.",
            ("name",),
            (((name,), load.connections) for name, load in gateways.items()),
        ),
        _counter("penstock_passed_on", "Requests that another server answered.", ("name", "server"), passed_on()),
        _counter("penstock_refused", "Requests refused before a model was asked.", ("name", "error_code"), refused()),
    ]


def _process_families(processes: Sequence[ProcessUsage]) -> list[Metric]:
    def labels(process: ProcessUsage) -> Sequence[str]:
        return (process.role, process.name, process.endpoint, process.entity)

    running = [process for process in processes if process.is_running]
    return [
        _gauge("penstock_process_up", "1: it runs.", _PROCESS, ((labels(p), p.is_running) for p in processes)),
        _counter("penstock_process_restarts", "Restarts.", _PROCESS, ((labels(p), p.restarts) for p in processes)),
        _counter("penstock_process_cpu_seconds", "CPU time.", _PROCESS, ((labels(p), p.cpu_s) for p in running)),
        _gauge(
            "penstock_process_resident_memory_bytes",
            "Resident memory.",
            _PROCESS,
            ((labels(p), p.rss_bytes) for p in running),
        ),
        _gauge("penstock_process_open_files", "Open files.", _PROCESS, ((labels(p), p.open_files) for p in running)),
        _gauge(
            "penstock_process_start_time_seconds",
            "When it was started, since 1970.",
            _PROCESS,
            ((labels(p), p.started_at_s) for p in running),
        ),
    ]


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float | None]]) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _counter(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float | None]]
) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Iterable[tuple[Sequence[str], float | None]]
) -> Metric:
    for labels, value in values:
        if value is not None:
            family.add_metric(labels, float(value))
    return family
