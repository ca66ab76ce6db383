"""What the fault tests share: one stack with two gateways, a model in two versions, and a report of each test.

`python -m pytest tests/faults --full --report FILE` runs them at full length; without `--full` in short.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fault_report import OFFSETS, FaultReport, write_reports
from support.linear_model import register_adder
from support.processes import wait_ready
from support.stack import MANAGEMENT, Stack, register_broken, register_code, registry_of, start_stack

MODEL, SLOW, BAD = "adder", "slow", "bad"
SHORT_WINDOWS = {
    "PENSTOCK_AUTOSCALE_STABLE_S": "6",
    "PENSTOCK_AUTOSCALE_PANIC_S": "2",
    "PENSTOCK_SCALE_TO_ZERO_AFTER_S": "3",
}
"""Of the autoscaler, so that a test need not wait for minutes."""
FULL_TIMEOUT_S = 7200
_reports: dict[str, FaultReport] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """At full length a test may take as long as it needs."""
    here = Path(__file__).parent
    for item in items:
        if config.getoption("--full") and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S), append=False)


def adder(version: str, replicas: int = 2, **fields: Any) -> dict[str, Any]:
    """A served entity of the adding model with so many replicas, never more or less, under the name `v1` or `v2`."""
    provisioned = {f"{bound}_provisioned_concurrency": 4 * replicas for bound in ("min", "max")}
    return {"name": f"v{version}", "entity_name": MODEL, "entity_version": version, **provisioned, **fields}


def slow(load_s: float, **variables: str) -> dict[str, Any]:
    """A served entity that takes so long to load, under the name `v2`; answers are those of version 2."""
    environment = {"LOAD_S": str(load_s), **variables}
    return {"name": "v2", "entity_name": SLOW, "entity_version": "1", "environment_vars": environment}


def bad(**variables: str) -> dict[str, Any]:
    """A served entity of the model that does what its input says, with these variables."""
    return {"name": "bad", "entity_name": BAD, "entity_version": "1", "environment_vars": variables}


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two gateways whose registry holds two versions of `adder`, `slow`, `bad` and `broken`."""
    home = Path(tmp_path_factory.mktemp("arena")) / "home"
    running = start_stack(home, "--gateways", "2", env=SHORT_WINDOWS)
    try:
        with registry_of(running):
            for offset in OFFSETS.values():
                register_adder(MODEL, offset)
            register_broken()
            register_code(SLOW, "slow_model.py")
            register_code(BAD, "bad_model.py")
        wait_ready(running, "zygote", 1)
        yield running
    finally:
        running.stop()


@pytest.fixture
def serve(arena: Stack) -> Iterator[Callable[..., str]]:
    """Creates endpoints that are deleted after the test; they have two replicas of version 1 unless said."""
    names = []

    def make(name: str, *entities: dict[str, Any], **config: Any) -> str:
        names.append(name)
        body = {"name": name, "config": {"served_entities": list(entities or [adder("1")]), **config}}
        answer = arena.call("POST", MANAGEMENT, body)
        assert answer.status_code == 200, answer.text
        arena.wait_ready(name)
        return name

    yield make
    for name in names:
        arena.call("DELETE", f"{MANAGEMENT}/{name}")


@pytest.fixture
def fault(request: pytest.FixtureRequest, tmp_path: Path) -> FaultReport:
    """The report of the test, named after its number."""
    number = re.match(r"test_r(\d+)_", request.node.name)
    assert number, "a fault test bears its number"
    told = _reports[request.node.nodeid] = FaultReport(
        f"R{number[1]}", is_full=request.config.getoption("--full"), folder=tmp_path
    )
    return told


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.nodeid in _reports:
        told = _reports[report.nodeid]
        told.passed, told.seconds = report.passed, report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _reports:
        terminalreporter.section("faults")
    for told in _reports.values():
        state = "passed" if told.passed else "FAILED"
        counts = f"{told.requests:7} requests  {told.errors:4} errors  {told.seconds:7.1f} s"
        terminalreporter.line(f"{told.test:4} {state}  {counts}  {told.told}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--report")
    if file is not None and _reports:
        write_reports(file, list(_reports.values()))
