"""Splits of traffic: exact shares, and refusals that name the field."""

from bisect import bisect_right
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.traffic import Route, check_routes, thresholds

LARGEST_DRAW = 1 - 2**-53


@st.composite
def splits(draw: st.DrawFn) -> list[int]:
    """Whole percentages that sum to 100, zeros included."""
    cuts = sorted(draw(st.lists(st.integers(0, 100), max_size=14)))
    return [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(splits())
def test_evenly_spread_draws_give_each_entity_exactly_its_share(percentages: list[int]) -> None:
    bounds = thresholds(percentages)
    drawn = Counter(bisect_right(bounds, i / 10_000) for i in range(10_000))
    assert [drawn[index] for index in range(len(percentages))] == [share * 100 for share in percentages]


@settings(deadline=None, derandomize=True)
@given(splits(), st.floats(0, 1, exclude_max=True))
def test_every_draw_falls_on_an_entity_with_a_share(percentages: list[int], value: float) -> None:
    bounds = thresholds(percentages)
    for draw in (value, 0.0, 0.9999999, LARGEST_DRAW):
        assert percentages[bisect_right(bounds, draw)] > 0


@pytest.mark.parametrize(
    ("percentages", "draw", "index"),
    [
        ([0, 100], 0.0, 1),
        ([100, 0], 0.9999999, 0),
        ([100, 0], LARGEST_DRAW, 0),
        ([0, 0, 100, 0], 0.5, 2),
        ([90, 10], 0.8999999, 0),
        ([90, 10], 0.9, 1),
        ([29, 71], 0.29, 1),
    ],
)
def test_a_draw_on_a_boundary_belongs_to_the_entity_above_it(percentages: list[int], draw: float, index: int) -> None:
    assert bisect_right(thresholds(percentages), draw) == index


@pytest.mark.parametrize(
    ("routes", "names"),
    [
        ([Route("a", 100)], ["a"]),
        ([Route("b", 0), Route("a", 100)], ["a", "b"]),
        ([Route("a", 1), Route("b", 99)], ["a", "b"]),
    ],
)
def test_routes_that_split_all_traffic_are_accepted(routes: list[Route], names: list[str]) -> None:
    check_routes(routes, names)


@pytest.mark.parametrize(
    ("routes", "names", "told"),
    [
        ([Route("c", 100)], ["a", "b"], "traffic_config.routes[0].served_entity_name: got 'c'; wanted one of a, b"),
        ([Route("a", 50), Route("a", 50)], ["a"], "traffic_config.routes[1]: 'a' has a route already"),
        ([Route("a", 101)], ["a"], "traffic_config.routes[0].traffic_percentage: got 101"),
        ([Route("a", 110), Route("b", -10)], ["a", "b"], "routes[0].traffic_percentage: got 110"),
        ([Route("a", 100), Route("b", -1)], ["a", "b"], "routes[1].traffic_percentage: got -1"),
        ([Route("a", 100)], ["a", "b"], "traffic_config.routes: no route for b"),
        ([Route("a", 60), Route("b", 30)], ["a", "b"], "sum to 90; wanted 100"),
        ([], ["a"], "no route for a"),
    ],
)
def test_a_bad_split_is_refused_by_field(routes: list[Route], names: list[str], told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        check_routes(routes, names)
    assert told in refused.value.message
