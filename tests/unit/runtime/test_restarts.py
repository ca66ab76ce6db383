"""Back-off of children that die."""

import pytest

from penstock.runtime.restarts import deaths_in_a_row, restart_delay_s


def test_delays_double_from_a_fifth_of_a_second_to_five() -> None:
    delays = [restart_delay_s(deaths) for deaths in range(1, 9)]
    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])


def test_a_child_that_dies_for_ever_is_still_started_again() -> None:
    assert restart_delay_s(1_000_000) == 5


@pytest.mark.parametrize(
    ("before", "ready_for_s", "after"),
    [(0, None, 1), (4, None, 5), (4, 0.1, 5), (4, 9.99, 5), (4, 10.0, 1), (4, 86_400.0, 1)],
)
def test_deaths_are_forgotten_once_a_child_was_stable(before: int, ready_for_s: float | None, after: int) -> None:
    assert deaths_in_a_row(before, ready_for_s) == after
