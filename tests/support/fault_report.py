"""What a fault test tells of itself: requests, errors and seconds, and whatever else it measured."""

import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from support.ledger import Ledger, Verdict, check, entries
from support.stack import Stack
from support.two_clients import TwoClients

OFFSETS = {"v1": 1_000_000.0, "v2": 2_000_000.0}
"""What the two versions of the fault tests' model add, by the name of their served entity."""


@dataclass
class FaultReport:
    """One test's report; its ledgers lie in a folder of their own."""

    test: str
    is_full: bool
    folder: Path
    requests: int = 0
    errors: int = 0
    passed: bool = False
    started_s: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    told: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)

    def length(self, short: int, full: int) -> int:
        """How often, or how long: in the short form, and in the full one."""
        return full if self.is_full else short

    @contextmanager
    def load(self, stack: Stack, endpoint: str, rate_per_s: float = 200) -> Iterator[TwoClients]:
        """Both clients for as long as the block runs; what they saw is judged when it ends, however it does."""
        path = self.folder / f"calls-{len(self.verdicts)}.jsonl"
        try:
            with TwoClients(stack, endpoint, Ledger(path), rate_per_s) as clients:
                yield clients
        finally:
            self._judge(check(entries(path), OFFSETS))

    @property
    def last(self) -> Verdict:
        """What was seen of the last load."""
        return self.verdicts[-1]

    def note(self, **measured: Any) -> None:
        """Something else worth telling."""
        self.told.update(measured)

    def count(self, requests: int, errors: int = 0) -> None:
        """Requests that were sent beside the load."""
        self.requests += requests
        self.errors += errors

    def _judge(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self.requests += verdict.requests
        self.errors += sum(verdict.errors.values())

    def assert_faultless(self) -> None:
        """No call failed, none was answered twice or with somebody else's answer."""
        for verdict in self.verdicts:
            assert verdict.errors == {}
            assert verdict.swapped == []
            assert verdict.doubled == []

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "test": self.test,
            "passed": self.passed,
            "form": "full" if self.is_full else "short",
            "requests": self.requests,
            "errors": self.errors,
            "seconds": round(self.seconds, 1),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **self.told,
            "loads": [verdict.document() for verdict in self.verdicts],
        }


def write_reports(file: Path, reports: list[FaultReport]) -> None:
    """Put reports into a file, in place of what it held of the same tests; the parts of one test are told as one."""
    by_test: dict[str, dict[str, Any]] = {}
    for told in (report.document() for report in reports):
        other = by_test.setdefault(told["test"], told)
        if other is not told:
            added = {name: other[name] + told[name] for name in ("requests", "errors", "loads")}
            seconds = round(other["seconds"] + told["seconds"], 1)
            by_test[told["test"]] = {
                **other,
                **told,
                **added,
                "seconds": seconds,
                "passed": other["passed"] and told["passed"],
            }
    before = json.loads(file.read_text())["tests"] if file.exists() else []
    by_test = {told["test"]: told for told in before} | by_test
    document = {
        "machine": {"cores": psutil.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "tests": sorted(by_test.values(), key=lambda told: int(told["test"].removeprefix("R"))),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n")
