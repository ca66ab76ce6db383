"""Sizes: defaults, bounds, and how many replicas they make."""

import pytest

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.sizing import Sizing, WorkloadSize, WorkloadType, choose_sizing


@pytest.mark.parametrize(
    ("size", "low", "high", "expected"),
    [
        (None, None, None, Sizing(WorkloadSize.SMALL)),
        ("Medium", None, None, Sizing(WorkloadSize.MEDIUM)),
        (None, 8, 16, Sizing(None, min_concurrency=8, max_concurrency=16)),
        (None, 8, None, Sizing(None, min_concurrency=8, max_concurrency=8)),
        (None, None, 16, Sizing(None, min_concurrency=4, max_concurrency=16)),
        (None, 0, None, Sizing(None, min_concurrency=0, max_concurrency=4)),
        (None, 1024, 1024, Sizing(None, min_concurrency=1024, max_concurrency=1024)),
    ],
)
def test_what_is_left_out_is_filled_in(size: str | None, low: int | None, high: int | None, expected: Sizing) -> None:
    assert choose_sizing("e", size, None, None, low, high) == expected


def test_type_and_scale_to_zero_are_kept() -> None:
    sizing = choose_sizing("e", "Small", "CPU_LARGE", True, None, None)
    assert sizing == Sizing(WorkloadSize.SMALL, WorkloadType.CPU_LARGE, scale_to_zero=True)


@pytest.mark.parametrize(
    ("size", "kind", "low", "high", "told"),
    [
        ("Tiny", None, None, None, "e.workload_size: got 'Tiny'; wanted one of Small, Medium, Large"),
        ("small", None, None, None, "e.workload_size: got 'small'"),
        (None, "TPU", None, None, "e.workload_type: got 'TPU'; wanted one of CPU,"),
        ("Small", None, 4, None, "workload_size 'Small' and min_provisioned_concurrency came together"),
        ("Small", None, 4, 8, "min_provisioned_concurrency and max_provisioned_concurrency came together"),
        (None, None, 3, None, "e.min_provisioned_concurrency: got 3; wanted a multiple of 4"),
        (None, None, None, 1028, "e.max_provisioned_concurrency: got 1028"),
        (None, None, -4, 4, "e.min_provisioned_concurrency: got -4"),
        (None, None, None, 0, "e.max_provisioned_concurrency: got 0; wanted at least 4"),
        (None, None, 16, 8, "e.min_provisioned_concurrency: got 16, which is over"),
    ],
)
def test_a_bad_size_is_refused_by_field(
    size: str | None, kind: str | None, low: int | None, high: int | None, told: str
) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        choose_sizing("e", size, kind, None, low, high)
    assert told in refused.value.message
