"""How much is asked at a time."""

from dataclasses import dataclass

from penstock.domain.errors import InvalidParameterValue

BATCH_ROWS, CONCURRENCY, RETRY_TIMEOUT_S = 256, 4, 300.0
_MOST_ROWS = 10_000
_MOST_AT_ONCE = 64
_MOST_WAITING_S = 86_400.0
BATCH_BYTES = 4 << 20
"""What the rows of a request are at most together, in bytes of JSON; a single row may be larger."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one `ai_query`."""

    batch_rows: int = BATCH_ROWS
    """Rows that go into one request."""
    concurrency: int = CONCURRENCY
    """Requests that are open at once, of one process."""
    retry_timeout_s: float = RETRY_TIMEOUT_S
    """How long a request that is put off (429, 503) is sent again; the endpoint says how long to wait in between."""


def check_limits(limits: Limits) -> Limits:
    """Limits that can be.

    Raises:
        InvalidParameterValue: one of them cannot.
    """
    for name, value, most in (
        ("batch_rows", limits.batch_rows, _MOST_ROWS),
        ("concurrency", limits.concurrency, _MOST_AT_ONCE),
    ):
        if not 1 <= value <= most:
            raise InvalidParameterValue(f"{name}: got {value}; wanted a whole number from 1 to {most}.")
    if not 0 <= limits.retry_timeout_s <= _MOST_WAITING_S:
        raise InvalidParameterValue(
            f"retry_timeout_s: got {limits.retry_timeout_s}; wanted seconds from 0 to {_MOST_WAITING_S:.0f}."
        )
    return limits
