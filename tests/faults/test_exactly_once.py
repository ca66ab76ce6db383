"""R16: whatever is killed, every answered call is in the inference table exactly once, every other at most once."""

import asyncio
import itertools
import random
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.conftest import SHORT_WINDOWS, adder
from penstock.client.table_writer import TableWriterUnreachable, flush
from penstock.faults import VARIABLE
from penstock.wire.sockets import SocketFolder
from support.fault_report import OFFSETS, FaultReport
from support.known_calls import LOG_POINTS, REFUSED, KnownCalls, Logged, hold_against, rows_of_calls
from support.ledger import Ledger, check, entries
from support.processes import kill, ready_pids, wait_ready
from support.stack import MANAGEMENT, Stack, start_stack, wait_for

ENDPOINT = "logged"
TABLE = {"inference_table_config": {"enabled": True, "catalog_name": "main", "schema_name": "default"}}
EVERYTHING = "everything"
VICTIMS = ("gateway", "table-writer", "replica", "table-writer", "gateway", "control-plane", "replica", EVERYTHING)
COUNTS = {"gateway": 2, "table-writer": 1, "replica": 2, "control-plane": 1}
SEED = 16


class Lone:
    """A stack that comes back at the same port after everything was killed."""

    def __init__(self, home: Path, faults: str = "") -> None:
        self.home = home
        self._environment = {**SHORT_WINDOWS, VARIABLE: faults, "PENSTOCK_TABLE_FLUSH_S": "1"}
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.stack = self._start()

    def _start(self) -> Stack:
        return start_stack(self.home, "--gateways", "2", "--port", str(self._port), env=self._environment)

    def kill(self, victim: str, chance: random.Random) -> None:
        """`kill -9` one process of that role, or everything, and wait until it is back."""
        if victim == EVERYTHING:
            self.stack.kill_everything()
            self.stack = self._start()
            self.stack.wait_ready(ENDPOINT)
            return
        endpoint = ENDPOINT if victim == "replica" else None
        kill(self.stack, chance.choice(wait_ready(self.stack, victim, COUNTS[victim], endpoint)))
        wait_for(lambda: len(ready_pids(self.stack, victim, endpoint)) == COUNTS[victim], f"{victim} to be back")

    def flush(self) -> None:
        """All that is in the spools is in the table, or the test fails."""

        def flushed() -> bool:
            try:
                return not asyncio.run(flush(SocketFolder(self.home / "run"), 300)).parked_tables
            except TableWriterUnreachable:
                return False

        wait_for(flushed, "everything to be in the table", 300)

    def serve(self) -> None:
        """An endpoint that logs what two replicas answer."""
        body = {"name": ENDPOINT, "config": {"served_entities": [adder("1")]}, "ai_gateway": TABLE}
        assert self.stack.call("POST", MANAGEMENT, body).status_code == 200
        self.stack.wait_ready(ENDPOINT)

    def judge(self, ledger: Path, fault: FaultReport, part: str, **measured: Any) -> Logged:
        """Once everything is in the table: nothing is lost, doubled, wrong or unheard of."""
        self.flush()
        seen = entries(ledger)
        verdict = check(seen, OFFSETS)
        table = self.home / "warehouse" / "main" / "default" / f"{ENDPOINT}_payload"
        logged = hold_against(rows_of_calls(table), seen)
        refused = sum(entry.told.startswith(REFUSED) for entry in seen)
        fault.count(len(seen) - refused, sum(verdict.errors.values()) - refused)
        fault.note(**{part: {"answered": verdict.ok, **logged.document(), **measured}})
        assert logged.lost == []
        assert logged.doubled == []
        assert logged.wrong == []
        assert logged.unheard_of == []
        assert verdict.swapped == []
        assert self.stack.get(ENDPOINT)["state"]["not_logged"] == 0
        return logged


@pytest.fixture
def registry(arena: Stack, tmp_path: Path) -> Path:
    """A home with a copy of the arena's registry, and nothing else."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(arena.home / "mlflow", home / "mlflow")
    return home


@contextmanager
def lone_stack(home: Path, faults: str = "") -> Iterator[Lone]:
    """A stack of its own, gone with the block."""
    lone = Lone(home, faults)
    try:
        lone.serve()
        yield lone
    finally:
        if lone.stack.process.poll() is None:
            lone.stack.kill_everything()


def test_r16_every_answered_call_has_one_row_whatever_is_killed(registry: Path, fault: FaultReport) -> None:
    """Gateways, the table writer, replicas, the control plane, and everything at once, while calls go on."""
    calls, kills = fault.length(4000, 1_000_000), fault.length(len(VICTIMS), 100)
    chance, killed = random.Random(SEED), Counter[str]()
    path = fault.folder / "calls.jsonl"
    with lone_stack(registry) as lone:
        began_s = time.monotonic()
        with KnownCalls(lone.stack.url, lone.stack.token, ENDPOINT, Ledger(path)) as client:
            for victim in itertools.islice(itertools.cycle(VICTIMS), kills):
                client.go_on(int(chance.uniform(0.5, 1.5) * calls / (kills + 1)))
                lone.kill(victim, chance)
                killed[victim] += 1
            client.go_on(max(calls - client.answered, 100))
        per_s = round(client.answered / (time.monotonic() - began_s))
        lone.judge(path, fault, "kills", kills=dict(killed), answers_per_s=per_s)
    assert client.answered >= calls


def test_r16_a_crash_at_any_point_between_an_answer_and_its_row_costs_no_row(
    registry: Path, fault: FaultReport, tmp_path: Path
) -> None:
    """In short all points fire in the life of one stack; in full each has its own, for its first three times."""
    wanted = [name for name in LOG_POINTS if name != "rows-after-park"]  # reached only where a table is in trouble
    if fault.is_full:
        lives = [_late(name, nth) for name in wanted for nth in (1, 2, 3)]
    else:
        lives = [",".join(_late(name) for name in wanted)]
    fired = set()
    for number, faults in enumerate(lives):
        home = shutil.copytree(registry, tmp_path / f"life-{number}")
        ledger = fault.folder / f"calls-{number}.jsonl"
        with lone_stack(home, faults) as lone:
            with KnownCalls(lone.stack.url, lone.stack.token, ENDPOINT, Ledger(ledger)) as client:
                client.go_on(500)
                lone.flush()  # a segment that is ended is deleted when all of it is in the table
                kill(lone.stack, *wait_ready(lone.stack, "gateway", 2))
                wait_ready(lone.stack, "gateway", 2)
                client.go_on(500)
            lone.judge(ledger, fault, f"crashes {number}")
            fired |= _fired(home)
    fault.note(points=sorted(fired))
    assert fired == set(wanted)


def _late(name: str, nth: int = 1) -> str:
    """A point of the spool fires in a gateway, which reaches it often, and not in the control plane."""
    return f"{name}:{nth + 50 if name.startswith('spool-') else nth}"


def _fired(home: Path) -> set[str]:
    """The points that have fired in the life of a stack."""
    return {path.name.removeprefix("fault-fired-") for path in (home / "run").glob("fault-fired-*")}
