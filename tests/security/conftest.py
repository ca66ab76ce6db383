"""What the security tests share: a raw client, and the report of each module."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.raw import RawClient
from support.report import Report
from support.stack import Stack


@pytest.fixture(scope="module")
def raw(stack: Stack) -> Iterator[RawClient]:
    client = RawClient(stack)
    yield client
    client.close()


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest, raw: RawClient) -> Iterator[Report]:
    """Written to `--report-dir` when the module's last test has ended."""
    folder: Path | None = request.config.getoption("--report-dir")
    name = Path(str(request.path)).stem.removeprefix("test_")
    told = Report(name.upper())
    failed_before, started = request.session.testsfailed, time.monotonic()
    yield told
    errors = request.session.testsfailed - failed_before
    document = {
        "test": told.test,
        "passed": errors == 0,
        "requests": raw.sent,
        "errors": errors,
        "seconds": round(time.monotonic() - started, 1),
        "covered": told.covered,
    }
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
