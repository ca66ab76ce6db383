"""Points of the past: what coarse ones tell is what the fine ones tell together."""

from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.load import BOUNDS_MS, Times
from penstock.domain.metric_history import (
    DAY_S,
    MINUTE_S,
    RETENTION_S,
    Point,
    aligned,
    downsample,
    is_kept,
    source_resolution,
)

COUNTS = st.integers(0, 1000)
NOW_S = 1_800_000_000
TIMES = st.builds(Times, st.tuples(*([COUNTS] * (len(BOUNDS_MS) + 1))), st.integers(0, 10**6).map(float))
WHOLE = st.integers(0, 10**6).map(float)
POINTS = st.lists(
    st.builds(
        Point,
        st.integers(NOW_S, NOW_S + 7200),
        COUNTS,
        COUNTS,
        TIMES,
        TIMES,
        TIMES,
        WHOLE,
        WHOLE,
        COUNTS,
        WHOLE,
        WHOLE,
        WHOLE,
    ),
    max_size=20,
)


@given(POINTS)
def test_p5_5_nothing_is_lost_or_counted_twice_by_a_coarser_look(points: list[Point]) -> None:
    coarse = downsample(points, 600)
    assert [point.at_s for point in coarse] == sorted({aligned(point.at_s, 600) for point in points})
    if points:
        before, after = (reduce(Point.combined, found) for found in (points, coarse))
        assert after.load == before.load
        assert (after.watched_s, after.replica_s, after.most_replicas) == (
            before.watched_s,
            before.replica_s,
            before.most_replicas,
        )


@given(POINTS)
def test_p5_5_in_one_step_or_in_two_it_is_the_same(points: list[Point]) -> None:
    assert downsample(downsample(points, 60), 600) == downsample(points, 600)
    assert downsample(downsample(points, 600), 600) == downsample(points, 600)
    assert downsample(reversed(points), 600) == downsample(points, 600)


@given(st.integers(0, 20 * DAY_S), st.sampled_from([60, 120, 600, 3600, DAY_S]))
def test_p5_5_a_question_is_answered_from_points_that_are_kept(age_s: int, resolution_s: int) -> None:
    begin_s = NOW_S - age_s
    found = source_resolution(begin_s, resolution_s, NOW_S)
    if age_s <= max(RETENTION_S.values()):
        assert is_kept(begin_s, found, NOW_S)
    if resolution_s % 600:
        assert found == MINUTE_S or age_s > DAY_S


def test_p5_5_a_day_is_kept_by_the_minute_and_fourteen_by_ten_minutes() -> None:
    assert is_kept(NOW_S - DAY_S, 60, NOW_S)
    assert not is_kept(NOW_S - DAY_S - 61, 60, NOW_S)
    assert is_kept(NOW_S - 14 * DAY_S, 600, NOW_S)
    assert not is_kept(NOW_S - 14 * DAY_S - 601, 600, NOW_S)
