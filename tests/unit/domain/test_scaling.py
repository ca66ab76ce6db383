"""The autoscaler's policy: bounds of an entity, and the number of replicas that recorded load makes."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.domain.limits import Windows
from penstock.domain.scaling import ReplicaBounds, desired_replicas, replay, replicas_of, sizing_bounds
from penstock.domain.sizing import Sizing, WorkloadSize
from unit.builders import entity, limits_of

WINDOWS = Windows(stable_s=60, panic_s=6, zero_after_s=1800)
ONE_TO_FOUR = ReplicaBounds(1, 4)
SLEEPY = ReplicaBounds(0, 4)


@pytest.mark.parametrize(
    ("sizing", "cores", "low", "high"),
    [
        (Sizing(), 8, 1, 1),
        (Sizing(scale_to_zero=True), 8, 0, 1),
        (Sizing(WorkloadSize.MEDIUM), 8, 2, 4),
        (Sizing(WorkloadSize.LARGE), 8, 4, 8),
        (Sizing(WorkloadSize.LARGE, scale_to_zero=True), 32, 0, 16),
        (Sizing(WorkloadSize.LARGE), 2, 2, 2),
        (Sizing(WorkloadSize.LARGE), 1, 1, 1),
        (Sizing(None, min_concurrency=12, max_concurrency=64), 8, 3, 8),
        (Sizing(None, min_concurrency=0, max_concurrency=4), 8, 1, 1),
        (Sizing(None, min_concurrency=1024, max_concurrency=1024), 4, 4, 4),
    ],
)
def test_p3_2_concurrency_makes_replicas_within_the_machine(sizing: Sizing, cores: int, low: int, high: int) -> None:
    assert sizing_bounds(sizing, limits_of(cores)) == ReplicaBounds(low, high)


@pytest.mark.parametrize(("scales", "replicas"), [({}, 2), ({"k": 3}, 3), ({"k": 9}, 4), ({"k": 0}, 2), ({"x": 4}, 2)])
def test_what_the_autoscaler_decided_counts_within_the_bounds(scales: dict[str, int], replicas: int) -> None:
    medium = entity(sizing=Sizing(WorkloadSize.MEDIUM))
    assert replicas_of("k", medium, limits_of(8), scales, None) == replicas


def history(*parts: tuple[int, float]) -> list[float]:
    """Load as (seconds, calls) after each other."""
    return [calls for seconds, calls in parts for _ in range(seconds)]


ROWS: dict[str, tuple[list[float], float, int, ReplicaBounds, int]] = {
    "nothing known, nothing changed": ([], 0, 2, ONE_TO_FOUR, 2),
    "load that fits is left alone": (history((66, 2.5)), 0, 1, ONE_TO_FOUR, 1),
    "a little more needs another": (history((66, 3.0)), 0, 1, ONE_TO_FOUR, 2),
    "a burst is answered within the panic window": (history((60, 1.0), (6, 10.0)), 0, 1, ONE_TO_FOUR, 4),
    "a small swell waits for the stable window": (history((60, 4.0), (6, 8.0)), 0, 2, ONE_TO_FOUR, 2),
    "never more than the bounds": (history((66, 500.0)), 0, 2, ONE_TO_FOUR, 4),
    "a load that went away is kept for a stable window": (history((30, 10.0), (36, 0.5)), 36, 4, ONE_TO_FOUR, 4),
    "after it the replicas go": (history((66, 0.5)), 0, 4, ONE_TO_FOUR, 1),
    "before a whole window is known nothing goes": (history((59, 0.0)), 59, 4, ONE_TO_FOUR, 4),
    "the last replica stays until the idle time is over": (history((66, 0.0)), 1799, 1, SLEEPY, 1),
    "then it sleeps": (history((66, 0.0)), 1800, 1, SLEEPY, 0),
    "one that may not sleep does not": (history((66, 0.0)), 9999, 1, ONE_TO_FOUR, 1),
    "at zero nothing happens without a call": (history((66, 0.0)), 9999, 0, SLEEPY, 0),
    "at zero one short call is enough": (history((65, 0.0), (1, 0.001)), 0, 0, SLEEPY, 1),
    "at zero a crowd brings several": (history((60, 0.0), (6, 8.0)), 0, 0, SLEEPY, 3),
}


@pytest.mark.parametrize(("load", "idle_s", "current", "bounds", "expected"), ROWS.values(), ids=ROWS.keys())
def test_p3_4_desired_replicas(
    load: list[float], idle_s: float, current: int, bounds: ReplicaBounds, expected: int
) -> None:
    assert desired_replicas(load, idle_s, current, bounds, WINDOWS) == expected


loads = st.lists(st.tuples(st.integers(1, 90), st.floats(0, 40)), min_size=1, max_size=12)


@example([(2, 2.0), (2, 12.0), (22, 8.0), (12, 5.0)], 0, 5)
@given(loads, st.integers(0, 3), st.integers(0, 6))
def test_p3_4_the_bounds_hold_and_a_step_down_never_follows_a_step_up_within_a_window(
    parts: list[tuple[int, float]], low: int, more: int
) -> None:
    bounds = ReplicaBounds(low, max(low + more, 1))
    windows = Windows(stable_s=20, panic_s=4, zero_after_s=30)
    series = replay(history(*parts), bounds, windows)
    assert all(bounds.low <= replicas <= bounds.high for replicas in series)
    last_up = None
    for at, (before, after) in enumerate(pairwise(series), 1):
        if after > before:
            last_up = at
        elif after < before and last_up is not None:
            assert at - last_up >= windows.stable_s


@pytest.mark.parametrize("period_s", [2, 10, 40, 90])
def test_r18_a_square_wave_at_the_threshold_changes_direction_once_a_window_at_most(period_s: int) -> None:
    wave = history(*[(period_s // 2, calls) for _ in range(3600 // period_s) for calls in (2.7, 2.9)])
    series = replay(wave, ReplicaBounds(1, 4), WINDOWS)
    steps = [(at, b - a) for at, (a, b) in enumerate(pairwise(series)) if a != b]
    turns = [at for (_, one), (at, other) in pairwise(steps) if one * other < 0]
    assert all(later - earlier >= WINDOWS.stable_s for earlier, later in pairwise(turns))


@given(st.floats(0.01, 100), st.integers(1, 8))
def test_a_steady_load_settles_and_stays(calls: float, high: int) -> None:
    series = replay([calls] * 300, ReplicaBounds(1, high), WINDOWS)
    assert len(set(series[120:])) == 1
