"""What of an endpoint's predictions is logged, and where."""

from dataclasses import dataclass
from enum import StrEnum

MAX_BODY_BYTES = 1 << 20
"""A body over this is not logged, only that it was there: the limit of the contract's inference tables."""


class TableStatus(StrEnum):
    """How an inference table stands."""

    PENDING = "PENDING"
    """Nothing has been logged yet."""
    READY = "READY"
    DEGRADED = "DEGRADED"
    """It does not take rows; they are kept apart until it does."""


@dataclass(frozen=True, slots=True)
class InferenceLog:
    """What of one endpoint's predictions is logged."""

    payload: str = ""
    """The AI Gateway's table, `catalog.schema.table`; empty if there is none."""
    legacy: str = ""
    """The table of the config's `auto_capture_config`; empty if there is none."""
    fraction: float = 1.0
    """The share of predictions that become rows of those tables."""
    tracks_usage: bool = False
    """Whether each prediction becomes a row of the usage table."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(filter(None, (self.payload, self.legacy)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is logged."""
        return not self.tracks_usage and (not self.tables or not self.fraction)
