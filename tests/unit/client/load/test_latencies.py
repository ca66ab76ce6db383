"""Latencies: whatever is counted, every figure is as near as it is said to be."""

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.load.latencies import Latencies

NS = st.integers(1, (1 << 40) - 1)


def counted(values: list[int]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


@given(st.lists(NS, min_size=1), st.floats(0, 1))
def test_p4_6_a_quantile_is_that_of_the_values_to_half_a_percent(values: list[int], share: float) -> None:
    exact = sorted(values)[max(math.ceil(share * len(values)), 1) - 1]
    assert counted(values).quantile_ns(share) == pytest.approx(exact, rel=0.005, abs=0.5)


@given(st.lists(NS, min_size=1))
def test_mean_and_extremes(values: list[int]) -> None:
    latencies = counted(values)
    assert latencies.mean_ns() == sum(values) / len(values)
    assert (latencies.least_ns, latencies.most_ns, latencies.total) == (min(values), max(values), len(values))


@given(st.lists(NS), st.lists(NS))
def test_counts_of_two_processes_are_the_counts_of_one(here: list[int], there: list[int]) -> None:
    both = counted(here)
    both.merge(msgspec.json.decode(msgspec.json.encode(counted(there)), type=Latencies))
    assert both == counted(here + there)


@given(st.lists(NS, min_size=1), st.integers(1, 40))
def test_p4_6_every_answer_is_in_one_bar_of_the_histogram(values: list[int], count: int) -> None:
    bars = counted(values).bars(count)
    assert sum(bar.answers for bar in bars) == len(values)
    assert len(bars) <= count
    assert bars[0].above_ns == pytest.approx(min(values))
    assert bars[-1].up_to_ns == pytest.approx(max(values))
    for bar, following in pairwise(bars):
        assert bar.up_to_ns == pytest.approx(following.above_ns)


def test_without_an_answer_there_is_no_figure() -> None:
    latencies = Latencies()
    assert math.isnan(latencies.quantile_ns(0.5))
    assert math.isnan(latencies.mean_ns())
    assert latencies.bars(5) == []


def test_what_takes_longer_than_there_are_buckets_counts_as_the_longest() -> None:
    latencies = counted([1 << 50])
    assert latencies.total == 1
    assert latencies.most_ns == (1 << 40) - 1
