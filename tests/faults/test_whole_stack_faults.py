"""R6: everything dies at once, and comes back as it was."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.conftest import SHORT_WINDOWS, adder
from support.fault_report import FaultReport
from support.stack import MANAGEMENT, Stack, start_stack, wait_for

VERSIONS = "12"


@pytest.fixture
def lone_home(arena: Stack, tmp_path: Path) -> Path:
    """A home in a folder whose path is longer than a socket's address may be, with a copy of the arena's registry."""
    home = tmp_path / ("long-" * 20) / "home"
    home.mkdir(parents=True)
    shutil.copytree(arena.home / "mlflow", home / "mlflow")
    return home


@pytest.fixture
def stacks() -> Iterator[list[Stack]]:
    """Stacks that are ended after the test, if they run."""
    started: list[Stack] = []
    yield started
    for stack in started:
        if stack.process.poll() is None:
            stack.kill_everything()


def _awake(stack: Stack) -> set[str | None]:
    return {p.endpoint for p in stack.processes("replica") if p.state != "asleep"}


def _configs(stack: Stack) -> dict[str, Any]:
    listed = stack.call("GET", MANAGEMENT).json()["endpoints"]
    return {endpoint["name"]: stack.get(endpoint["name"])["config"] for endpoint in listed}


def test_r6_everything_is_killed_and_comes_back_as_it_was(
    lone_home: Path, stacks: list[Stack], fault: FaultReport
) -> None:
    """All but a few endpoints are at zero, and stay there. What is half written is in nobody's way."""
    count, awake_count = fault.length(4, 50), fault.length(2, 10)
    first = start_stack(lone_home, "--gateways", "2", env=SHORT_WINDOWS)
    stacks.append(first)
    names = [f"e{number}" for number in range(count)]
    for number, name in enumerate(names):
        served = adder(VERSIONS[number % 2], replicas=1, scale_to_zero_enabled=number >= awake_count)
        answer = first.call("POST", MANAGEMENT, {"name": name, "config": {"served_entities": [served]}})
        assert answer.status_code == 200, answer.text
        first.wait_ready(name, 300)
    update = {"served_entities": [adder("2", replicas=1)]}
    assert first.call("PUT", f"{MANAGEMENT}/{names[0]}/config", update).status_code == 200
    first.wait_ready(names[0])
    wait_for(lambda: _awake(first) == set(names[:awake_count]), "the others to sleep", 120)
    before = _configs(first)
    assert len(before) == count

    first.kill_everything()
    (lone_home / "artifacts" / "0123.abc.partial").mkdir()
    (lone_home / "run" / "routing-table.new").write_text("{")
    began_s = time.monotonic()
    second = start_stack(lone_home, "--gateways", "2", env=SHORT_WINDOWS)
    stacks.append(second)
    up_s = time.monotonic() - began_s
    for number, name in enumerate(names[:awake_count]):
        version = "2" if number == 0 else VERSIONS[number % 2]
        answer = second.ask(name, {"dataframe_records": [{"x": 1.0}]})
        assert (answer.status_code, answer.headers["served-model-name"]) == (200, f"v{version}")
    answers_s = time.monotonic() - began_s
    fault.count(awake_count)
    fault.note(endpoints=count, at_zero=count - awake_count, up_s=round(up_s, 1), answers_s=round(answers_s, 1))
    assert _awake(second) == set(names[:awake_count]), "those at zero stay at zero"
    for name in names:
        second.wait_ready(name)
    assert _configs(second) == before
    assert not (lone_home / "artifacts" / "0123.abc.partial").exists()
    (answer,) = [second.ask(names[-1], {"dataframe_records": [{"x": 1.0}]})]
    assert answer.status_code == 200
    assert "x-penstock-cold-start" in answer.headers
    with fault.load(second, names[1]) as clients:
        clients.go_on(2000)
    fault.assert_faultless()
    second.stop()
    if fault.is_full:
        assert answers_s <= 30
