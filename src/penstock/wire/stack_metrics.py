"""The metrics of a stack, as Prometheus scrapes them: what Databricks' names of an endpoint's metrics do not tell."""

from collections.abc import Iterable

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from penstock.domain.endpoint import EntityStatus
from penstock.wire.metrics import expose

_ENTITY = ("endpoint_name", "served_model_name")


def encode_stack_metrics(statuses: Iterable[tuple[str, str, EntityStatus]], accept: str) -> tuple[bytes, str]:
    """Body and content type for a client that accepts these types.

    Args:
        statuses: of served entities: name of the endpoint, of the entity, and what is seen of it.
        accept: the client's header of that name.
    """
    return expose(_families(list(statuses)), accept)


def _families(statuses: list[tuple[str, str, EntityStatus]]) -> list[Metric]:
    replicas = GaugeMetricFamily("penstock_replicas", "Replicas of a served entity.", labels=(*_ENTITY, "state"))
    tiers = GaugeMetricFamily(
        "penstock_predict_tier", "1: how directly the model is asked.", labels=(*_ENTITY, "predict_tier")
    )
    for endpoint, entity, status in statuses:
        for state, count in (("ready", status.ready), ("starting", status.starting), ("draining", status.draining)):
            replicas.add_metric([endpoint, entity, state], count)
        if status.check is not None:
            tiers.add_metric([endpoint, entity, status.tier.value], 1)
    return [replicas, tiers]
