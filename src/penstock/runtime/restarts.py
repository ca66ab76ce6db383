"""When a child that died is started again."""

FIRST_DELAY_S = 0.2
MAX_DELAY_S = 5.0
STABLE_AFTER_S = 10.0
"""A child that was ready for so long has its earlier deaths forgotten."""


def restart_delay_s(deaths: int) -> float:
    """Seconds to wait after the `deaths`-th death in a row: doubling from 0.2 to 5."""
    return min(FIRST_DELAY_S * 2.0 ** min(deaths - 1, 16), MAX_DELAY_S)


def deaths_in_a_row(deaths_before: int, ready_for_s: float | None) -> int:
    """The new count, given how long the child had been ready when it died (None: it never was)."""
    return 1 if ready_for_s is not None and ready_for_s >= STABLE_AFTER_S else deaths_before + 1
