"""What is told of who changed or read what."""

from dataclasses import dataclass


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
