"""R16: whatever is killed, every answered call is in the inference table exactly once, every other at most once."""

import asyncio
import itertools
import random
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.conftest import SHORT_WINDOWS, adder
from penstock.client.table_writer import TableWriterUnreachable, flush
from penstock.wire.sockets import SocketFolder
from support.fault_report import OFFSETS, FaultReport
from support.known_calls import REFUSED, KnownCalls, hold_against, rows_of_calls
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

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self.stack = self._start()

    def _start(self) -> Stack:
        return start_stack(self.home, "--gateways", "2", "--port", str(self._port), env=SHORT_WINDOWS)

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


@pytest.fixture
def lone(arena: Stack, tmp_path: Path) -> Iterator[Lone]:
    """A stack of its own with two gateways and a copy of the arena's registry."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(arena.home / "mlflow", home / "mlflow")
    lone = Lone(home)
    try:
        yield lone
    finally:
        if lone.stack.process.poll() is None:
            lone.stack.kill_everything()


def test_r16_every_answered_call_has_one_row_whatever_is_killed(lone: Lone, fault: FaultReport) -> None:
    """Gateways, the table writer, replicas, the control plane, and everything at once, while calls go on."""
    body = {"name": ENDPOINT, "config": {"served_entities": [adder("1")]}, "ai_gateway": TABLE}
    assert lone.stack.call("POST", MANAGEMENT, body).status_code == 200
    lone.stack.wait_ready(ENDPOINT)
    calls, kills = fault.length(4000, 1_000_000), fault.length(len(VICTIMS), 100)
    chance, killed = random.Random(SEED), Counter[str]()
    path = fault.folder / "calls.jsonl"
    began_s = time.monotonic()
    with KnownCalls(lone.stack.url, lone.stack.token, ENDPOINT, Ledger(path)) as client:
        for victim in itertools.islice(itertools.cycle(VICTIMS), kills):
            client.go_on(int(chance.uniform(0.5, 1.5) * calls / (kills + 1)))
            lone.kill(victim, chance)
            killed[victim] += 1
        client.go_on(max(calls - client.answered, 100))
    seconds = time.monotonic() - began_s
    lone.flush()

    seen = entries(path)
    verdict = check(seen, OFFSETS)
    logged = hold_against(rows_of_calls(lone.home / "warehouse" / "main" / "default" / f"{ENDPOINT}_payload"), seen)
    refused = sum(entry.told.startswith(REFUSED) for entry in seen)
    fault.count(len(seen) - refused, sum(verdict.errors.values()) - refused)
    fault.note(kills=dict(killed), answered=verdict.ok, calls_per_s=round(len(seen) / seconds), **logged.document())
    assert logged.lost == []
    assert logged.doubled == []
    assert logged.wrong == []
    assert logged.unheard_of == []
    assert verdict.swapped == []
    assert verdict.ok >= calls
    assert lone.stack.get(ENDPOINT)["state"]["not_logged"] == 0
