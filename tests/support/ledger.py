"""What clients saw, call by call, in a file of their own; and the checker that reads it when all is over."""

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

Outcome = Literal["ok", "failed", "unknown"]
"""An answer of class 2xx, any other answer, or none: the connection broke."""


class Entry(msgspec.Struct, frozen=True):
    """One call of one client."""

    client: str
    asked: float
    sent_s: float
    seconds: float
    outcome: Outcome
    told: str = ""
    """The status, or the exception, of what is not ok."""
    entity: str = ""
    answered: float | None = None
    request_id: str = ""


class Ledger:
    """Appends entries to a file; many threads may."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = path.open("ab")
        self._lock = threading.Lock()

    def write(self, entry: Entry) -> None:
        line = msgspec.json.encode(entry) + b"\n"
        with self._lock:
            self._file.write(line)
            self.count += 1

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Verdict:
    """What the checker found in a ledger."""

    requests: int
    ok: int
    errors: dict[str, int]
    """What is not ok, by client and what it was told."""
    swapped: list[Entry]
    """Answers that are not those to what was asked."""
    doubled: list[str]
    """Request ids under which more than one call was answered."""
    entities: dict[str, int]
    p50_ms: float
    p99_ms: float
    slowest_ms: float

    def document(self) -> dict[str, Any]:
        """For the report."""
        return {
            "requests": self.requests,
            "ok": self.ok,
            "errors": sum(self.errors.values()),
            "errors_by_kind": self.errors,
            "swapped": len(self.swapped),
            "doubled": len(self.doubled),
            "answered_by": self.entities,
            "p50_ms": round(self.p50_ms, 1),
            "p99_ms": round(self.p99_ms, 1),
            "slowest_ms": round(self.slowest_ms, 1),
        }


def entries(path: Path) -> list[Entry]:
    """All that a ledger holds."""
    return [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]


def check(found: list[Entry], offsets: dict[str, float]) -> Verdict:
    """Judge what clients saw of a model that adds to what it is asked.

    Args:
        found: the ledger's entries.
        offsets: what each served entity adds, by its name.
    """
    ok = [entry for entry in found if entry.outcome == "ok"]
    ids = Counter(entry.request_id for entry in ok if entry.request_id)
    times = sorted(entry.seconds * 1000 for entry in ok) or [0.0]
    return Verdict(
        requests=len(found),
        ok=len(ok),
        errors=dict(Counter(f"{e.client}: {e.outcome} {e.told}" for e in found if e.outcome != "ok")),
        swapped=[entry for entry in ok if not _is_right(entry, offsets)],
        doubled=[request_id for request_id, count in ids.items() if count > 1],
        entities=dict(Counter(entry.entity for entry in ok)),
        p50_ms=times[len(times) // 2],
        p99_ms=times[len(times) * 99 // 100],
        slowest_ms=times[-1],
    )


def _is_right(entry: Entry, offsets: dict[str, float]) -> bool:
    wanted = entry.asked + offsets.get(entry.entity, float("nan"))
    return entry.answered is not None and abs(entry.answered - wanted) < 1e-3
