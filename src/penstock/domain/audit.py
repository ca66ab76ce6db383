"""What is told of who changed or read what. Nothing here holds a secret: only fields that are named are told."""

from dataclasses import dataclass, field

MAX_VALUE_LENGTH = 256
"""Of a parameter; what is longer is cut off."""
SYSTEM = "System-User"
"""Who did what nobody asked for just then."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that somebody did, or tried to do."""

    at_ms: int
    service: str
    action: str
    principal: str | None
    """Who did it; None if that is not known."""
    params: dict[str, str] = field(default_factory=dict)
    status: int = 200
    """As HTTP has it."""
    error_code: str | None = None
    address: str = ""
    user_agent: str = ""
    session_id: str | None = None
    """Which log-in of a browser; nothing that would open anything."""
    run_as: str | None = None
    """Whose rights counted, if not the principal's own."""
    acting_resource: str | None = None
    """The token that was shown: `tokens/<id>`."""


@dataclass(frozen=True, slots=True)
class AuthenticationFailure:
    """A request that showed no valid credentials. What it showed is not kept."""

    at_ms: int
    method: str
    path: str
    """Without the query, which may hold anything."""
    address: str
    user_agent: str
    reason: str


class Allowance:
    """So many in a minute, and no more; counts what is too much. Not a frozen value: it is spent."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._minute = -1
        self._spent = 0
        self._refused = 0

    def take(self, at_ms: int) -> bool:
        """Whether there is one left in the minute of that time."""
        self._turn(at_ms)
        if self._spent >= self._per_minute:
            self._refused += 1
            return False
        self._spent += 1
        return True

    def refuse(self, count: int) -> None:
        """So many more were too much somewhere else."""
        self._refused += count

    def refused_before(self, at_ms: int) -> int:
        """How many were refused, told once, as soon as their minute is over."""
        if at_ms // 60_000 == self._minute:
            return 0
        self._turn(at_ms)
        refused, self._refused = self._refused, 0
        return refused

    def _turn(self, at_ms: int) -> None:
        if at_ms // 60_000 != self._minute:
            self._minute, self._spent = at_ms // 60_000, 0
