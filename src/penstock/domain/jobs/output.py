"""What an attempt leaves behind, and what the log of a Python file that failed says about why."""

from dataclasses import dataclass
from typing import Any

_TRACEBACK = "Traceback (most recent call last):"
_MAX_TRACE = 64 << 10


@dataclass(frozen=True, slots=True)
class Output:
    """What an attempt has left behind."""

    logs: str = ""
    is_truncated: bool = False
    """Whether the log is longer than what is told of it."""
    notebook_result: str | None = None
    is_result_truncated: bool = False
    error: str = ""
    error_trace: str = ""
    batch: dict[str, Any] | None = None
    """The summary of a batch run."""


def failure_in(log: str) -> tuple[str, str]:
    """The error's own line and the last traceback; empty if the log has none."""
    at = log.rfind(_TRACEBACK)
    if at < 0:
        return "", ""
    trace = log[at:]
    said = [line for line in trace.splitlines()[1:] if line and not line[0].isspace()]
    return (said[0] if said else ""), trace[-_MAX_TRACE:]
