"""How long a gateway waits for a client: what is expected of it, and when too little of that has come for too long."""

from dataclasses import dataclass
from enum import Enum, auto

BODY_STEP_BYTES = 8 << 10
"""So much of a body, or its end, must come within its limit."""


class Awaited(Enum):
    """What has to come from a client next."""

    REQUEST = auto()
    """Anything at all: the connection is idle."""
    HEAD = auto()
    """The rest of a head, however its bytes come."""
    BODY = auto()
    """More of a body."""
    READING = auto()
    """Nothing; it is to take what was sent."""
    NOTHING = auto()
    """The turn is ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for each."""

    idle_s: float = 300.0
    head_s: float = 30.0
    body_s: float = 30.0
    reading_s: float = 60.0

    def of(self, awaited: Awaited) -> float:
        """How long the next bit of progress may take."""
        match awaited:
            case Awaited.REQUEST:
                return self.idle_s
            case Awaited.HEAD:
                return self.head_s
            case Awaited.BODY:
                return self.body_s
            case Awaited.READING:
                return self.reading_s
            case Awaited.NOTHING:
                return float("inf")


class Patience:
    """Looks at one client now and then."""

    __slots__ = ("_awaited", "_progress", "_since_s")

    def __init__(self) -> None:
        self._awaited = Awaited.NOTHING
        self._progress = 0
        self._since_s = 0.0

    def is_over(self, awaited: Awaited, progress: int, now_s: float, limits: Limits) -> bool:
        """Whether a client has made no progress for too long.

        Args:
            awaited: of it, now.
            progress: a number that grows as it comes.
            now_s: the time.
            limits: for how long.
        """
        if awaited is not self._awaited or progress > self._progress:
            self._since_s = now_s
        self._awaited, self._progress = awaited, progress
        return now_s - self._since_s > limits.of(awaited)
