"""The text of an endpoint's metrics, where a stack on this machine cannot have them all."""

from prometheus_client.parser import text_string_to_metric_families as parse

from penstock.domain.gpu import GpuUsage, Spread
from penstock.domain.load import EntityUsage
from penstock.wire.metrics import encode_metrics


def test_p5_5_gpus_are_told_of_entities_that_have_some_and_of_no_others() -> None:
    gpu = GpuUsage(Spread(50, 10, 90), Spread(20, 20, 20))
    usages = [EntityUsage("big", 4, 1.0, 2.0, 1, gpu), EntityUsage("small", 4, 1.0, 2.0, 1)]
    text, _ = encode_metrics("e", [], usages, 1_800_000_000.5, "")
    found = {family.name: family for family in parse(text.decode())}
    assert found["gpu_usage_percentage"].type == "gauge"
    told = {tuple(sorted(s.labels.items())): s.value for s in found["gpu_usage_percentage"].samples}
    labels = {"endpoint_name": "e", "served_model_name": "big"}
    assert told == {
        tuple(sorted({**labels, "statistic": name}.items())): value
        for name, value in (("avg", 50), ("min", 10), ("max", 90))
    }
    assert len(found["gpu_mem_usage_percentage"].samples) == 3
    without, _ = encode_metrics("e", [], usages[1:], 1_800_000_000.5, "")
    assert b"gpu" not in without
