"""What the security tests share: a raw client, and the report of each module.

Reports are written when the session has ended, because what a fixture finds out while it is torn down counts too.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.raw import RawClient
from support.report import Report
from support.stack import Stack

_reports: dict[str, Report] = {}
_failures: Counter[str] = Counter()


@pytest.fixture(scope="module")
def raw(stack: Stack) -> Iterator[RawClient]:
    client = RawClient(stack)
    yield client
    client.close()


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, raw: RawClient) -> Iterator[Report]:
    """Filled by the module's tests; written to `--report-dir`."""
    started = time.monotonic()
    told = _reports[request.node.nodeid] = Report(request.path.stem.removeprefix("test_").upper())
    yield told
    told.requests, told.seconds = raw.sent, round(time.monotonic() - started, 1)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failures[report.nodeid.partition("::")[0]] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    folder: Path | None = session.config.getoption("--report-dir")
    for module, told in _reports.items() if folder is not None else ():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{told.test.lower()}.json"
        file.write_text(json.dumps(told.document(errors=_failures[module]), indent=2) + "\n")
