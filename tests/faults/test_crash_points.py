"""R7: a crash at each point of the registry; what is left is the config of before or of after, whole, and no stray."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from faults.conftest import MODEL
from penstock.faults import POINTS, VARIABLE
from support.fault_report import FaultReport
from support.known_calls import LOG_POINTS
from support.processes import kill, ready_pids
from support.stack import MANAGEMENT, Stack, start_stack, wait_for

MARK = "PENSTOCK_SUPERVISED_HOME"
NAME = "survivor"
SOME = [
    "config-before-commit",
    "config-after-commit",
    "table-after-rename",
    "table-before-acknowledge",
    "launch-after-ask",
    "fork-before-note",
    "artifact-before-rename",
]
"""At least one of each process."""
ASKED = 20
"""Predictions that are asked for whenever the endpoint has settled."""
Config = dict[str, Any] | None
"""Version and variables of the one served entity; None for an endpoint that does not exist."""

REACH = """
import sys
from pathlib import Path
from penstock.faults import arm, fault_point
arm("stop-after-ask:2", Path(sys.argv[1]))
for _ in range(3):
    print("there", flush=True)
    fault_point("table-after-send")
    fault_point("stop-after-ask")
"""


def test_r7_a_point_fires_at_the_time_that_was_named_and_in_one_process_only(tmp_path: Path) -> None:
    ends = [
        subprocess.run([sys.executable, "-c", REACH, str(tmp_path)], capture_output=True, text=True) for _ in range(2)
    ]
    assert [(end.returncode, end.stdout.count("there")) for end in ends] == [(-9, 2), (0, 3)]


class Survivor:
    """A stack that may die at any moment, and an endpoint of it that somebody goes on changing."""

    def __init__(self, home: Path, points: list[str], fault: FaultReport) -> None:
        self._home = home
        self._waiting = points
        self._fault = fault
        self._stack: Stack | None = None
        self.fired: list[str] = []
        self.config: Config = None

    @property
    def stack(self) -> Stack:
        """The stack, started again if it is dead."""
        if self._stack is not None and self._stack.process.poll() is not None:
            self._stack.process.wait()
            self._stack = None
        while self._stack is None:
            self._note_fired()
            try:
                self._stack = start_stack(self._home, env={VARIABLE: ",".join(self._waiting)})
            except AssertionError:  # it died before it told that it is ready
                before = len(self.fired)
                self._note_fired()
                assert len(self.fired) > before, "a stack that does not start, and no point has fired"
        return self._stack

    def change(self, method: str, path: str, body: object, wanted: Config) -> None:
        """Change the endpoint until it is as wanted; whatever crashes, it is as before or as wanted."""
        while self.config != wanted:
            before = self.config
            status = self._send(method, path, body)
            self.config = wait_for(self._settled, f"{NAME} to settle", 90)[0]
            assert self.config in (before, wanted), "old or new, never mixed"
            assert status != 200 or self.config == wanted, "what was accepted is not lost"
            assert status in (200, 404, 409, 503, None)

    def answers(self, version: str) -> None:
        """The endpoint answers as its config says, by the one replica that it wants."""
        wait_for(lambda: len(self._replicas()) == 1, "one replica", 60)
        body = {"dataframe_records": [{"x": 1.0}]}
        for _ in range(ASKED):
            answer = wait_for(
                lambda: self._try("POST", f"/serving-endpoints/{NAME}/invocations", body), "an answer", 60
            )
            assert (answer.status_code, answer.headers["served-model-name"]) == (200, f"v{version}")
        self._fault.count(ASKED)

    def kill_one(self, role: str) -> None:
        """`kill -9` a process, and wait until there is another."""
        (pid,) = ready_pids(self.stack, role)
        with suppress(Exception):  # the supervisor may die of it, too
            kill(self.stack, pid)
        wait_for(lambda: self._ready(role) not in ([], [pid]), f"another {role}", 60)

    def end(self) -> None:
        """Stop; nothing that bears the home's mark is left."""
        self._note_fired()
        self.stack.stop()
        assert _marked(self._home) == []

    def kill(self) -> None:
        """If the test has failed: leave nothing running."""
        if self._stack is not None and self._stack.process.poll() is None:
            self._stack.kill_everything()

    def _settled(self) -> tuple[Config] | None:
        answer = self._try("GET", f"{MANAGEMENT}/{NAME}")
        if answer is None or answer.status_code == 503:
            return None
        if answer.status_code == 404:
            return (None,)
        document = answer.json()
        assert document["state"]["config_update"] in {"NOT_UPDATING", "IN_PROGRESS"}
        if document["state"]["config_update"] == "IN_PROGRESS" or document["state"]["ready"] != "READY":
            return None
        (entity,) = document["config"]["served_entities"]
        return ({"version": entity["entity_version"], "variables": entity.get("environment_vars", {})},)

    def _send(self, method: str, path: str, body: object) -> int | None:
        self._fault.count(1)
        answer = self._try(method, path, body)
        return None if answer is None else answer.status_code

    def _try(self, method: str, path: str, body: object = None) -> requests.Response | None:
        try:
            return self.stack.call(method, path, body)
        except requests.ConnectionError:
            return None

    def _replicas(self) -> list[int]:
        with suppress(Exception):  # asked just when the supervisor dies
            return [p.pid or 0 for p in self.stack.processes("replica", NAME)]
        return []

    def _ready(self, role: str) -> list[int]:
        with suppress(Exception):
            return ready_pids(self.stack, role)
        return []

    def _note_fired(self) -> None:
        now = [p for p in self._waiting if (self._home / "run" / f"fault-fired-{p.partition(':')[0]}").exists()]
        self.fired += now
        self._waiting = [point for point in self._waiting if point not in now]


def _marked(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(home):
                found.append(process.pid)
    return found


def _entity(version: str, **variables: str) -> dict[str, Any]:
    return {"name": f"v{version}", "entity_name": MODEL, "entity_version": version, "environment_vars": variables}


@pytest.fixture
def own_home(arena: Stack, tmp_path: Path) -> Path:
    """A home of its own, with a copy of the arena's registry."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(arena.home / "mlflow", home / "mlflow")
    return home


def life(home: Path, points: list[str], fault: FaultReport) -> list[str]:
    """An endpoint's life, in which points fire; which did."""
    survivor = Survivor(home, points, fault)
    try:
        live(survivor)
    finally:
        survivor.kill()
    return survivor.fired


def live(survivor: Survivor) -> None:
    """Create, change, lose processes, delete and create again."""
    old, new = ({"version": version, "variables": {"CONFIG": f"c{version}"}} for version in "12")
    create = {"name": NAME, "config": {"served_entities": [_entity("1", CONFIG="c1")]}}
    survivor.change("POST", MANAGEMENT, create, old)
    survivor.answers("1")
    update = {"served_entities": [_entity("2", CONFIG="c2")]}
    survivor.change("PUT", f"{MANAGEMENT}/{NAME}/config", update, new)
    survivor.answers("2")
    survivor.kill_one("replica")
    survivor.kill_one("gateway")
    survivor.answers("2")
    survivor.change("DELETE", f"{MANAGEMENT}/{NAME}", None, None)
    survivor.change("POST", MANAGEMENT, create, old)
    survivor.answers("1")
    survivor.end()


def test_r7_a_crash_at_any_point_leaves_the_old_config_or_the_new_one(
    own_home: Path, fault: FaultReport, tmp_path: Path
) -> None:
    """In short some points fire in one life of an endpoint; in full each has its own, for its first three times."""
    if not fault.is_full:
        fired = life(own_home, SOME, fault)
        fault.note(crashes=len(fired))
        assert sorted(fired) == sorted(SOME)
        return
    fired = []
    points = [name for name, point in POINTS.items() if name not in LOG_POINTS and point.process != "batch"]
    for name in points:
        for nth in (1, 2, 3):
            home = tmp_path / f"{name}-{nth}"
            shutil.copytree(own_home, home)
            now = life(home, [f"{name}:{nth}"], fault)
            fired += now
            shutil.rmtree(home)
            if not now:
                break  # it is not reached so often in one process
    fault.note(crashes=len(fired), points=len(points))
    assert {point.partition(":")[0] for point in fired} == set(points)
