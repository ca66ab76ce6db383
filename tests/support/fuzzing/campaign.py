"""A campaign: thousands of cases against a running stack, and the report on what came of them.

Workers take case after case, each on a connection of its own. A case that was not answered in time is sent once more,
alone: a machine that is busy makes an answer late once, a case that hangs does so again. A case with an improper answer
is made smaller as long as the answer stays improper, and told with its number and its bytes.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from support.fuzzing.cases import Case, Grammar, Target, operations_of
from support.fuzzing.client import LIMIT_S, Connection, Improper, fault_of
from support.fuzzing.models import register
from support.stack import MANAGEMENT, MODEL, Stack, entity, use_registry

ENDPOINTS = {"fuzz-table": MODEL, "fuzz-tensor": "tensor", "fuzz-plain": "plain", "fuzz-talk": "streamer"}
"""Endpoints that are queried, with their models: a table, a tensor, no signature, and one that streams."""
MAX_TOLD = 20
_SHRINK_TRIES = 60
_MIB = 1 << 20


@dataclass
class Finding:
    """An improper answer, or none."""

    case: Case
    fault: str
    answer: bytes = b""

    def document(self) -> dict[str, Any]:
        """As JSON, with the exact bytes that were sent."""
        return {
            "case": self.case.index,
            "route": self.case.route,
            "kind": self.case.kind,
            "fault": self.fault,
            "sent": self.case.data[:4000].decode("latin-1"),
            "sent_bytes": len(self.case.data),
            "answer": self.answer[:2000].decode("latin-1"),
        }


@dataclass
class Outcome:
    """What came of a campaign."""

    routes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    late_once: int = 0
    hangs: int = 0
    slowest_s: float = 0.0
    foreign_5xx: int = 0

    @property
    def sent(self) -> int:
        """How many cases were sent."""
        return sum(self.kinds.values())

    def count(self, case: Case, statuses: list[int], seconds: float) -> None:
        """Count a case that was answered."""
        self.kinds[case.kind] += 1
        self.routes[f"{case.family} {case.route}"] += 1
        self.slowest_s = max(self.slowest_s, seconds)
        self.statuses.setdefault(case.family, Counter()).update(statuses)

    def blame(self, finding: Finding) -> None:
        """Count a fault, and keep the first ones."""
        self.faults[finding.fault] += 1
        if len(self.findings) < MAX_TOLD:
            self.findings.append(finding)


class Campaign:
    """Sends the cases of a grammar to a stack."""

    def __init__(self, stack: Stack, grammar: Grammar, workers: int = 6) -> None:
        self._host, _, port = stack.url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._authorization = f"authorization: Bearer {stack.token}\r\n".encode()
        self._grammar = grammar
        self._workers = workers
        self.outcome = Outcome()

    async def run(self, first: int, count: int, deadline: float = float("inf")) -> None:
        """Send `count` cases, the first with that number; stop early when the clock is past the deadline."""
        indexes = iter(range(first, first + count))

        async def work() -> None:
            connection = Connection(self._host, self._port)
            for index in indexes:
                if time.monotonic() > deadline:
                    break
                await self._try(connection, self._grammar.case(index))
            await connection.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(work())

    async def _try(self, connection: Connection, case: Case) -> None:
        started = time.perf_counter()
        try:
            answers = await connection.send(case)
        except TimeoutError:
            await self._try_again(case)
            return
        except Improper as exc:
            self.outcome.count(case, [], time.perf_counter() - started)
            self.outcome.blame(Finding(case, str(exc)))
            return
        self.outcome.count(case, [answer.status for answer in answers], time.perf_counter() - started)
        for answer in answers:
            fault = fault_of(answer)
            if fault is not None and case.family == "mlflow" and b'"TEMPORARILY_UNAVAILABLE"' not in answer.body:
                self.outcome.foreign_5xx += answer.status >= 500
            elif fault is not None:
                self.outcome.blame(Finding(await self._shrunk(case, fault), fault, answer.body))
        if case.creates is not None and answers[0].status == 200:
            await self._take_away(connection, case.creates, answers[0].body)

    async def _try_again(self, case: Case) -> None:
        connection = Connection(self._host, self._port)
        started = time.perf_counter()
        try:
            answers = await connection.send(case)
            self.outcome.late_once += 1
            self.outcome.count(case, [answer.status for answer in answers], LIMIT_S + time.perf_counter() - started)
        except (TimeoutError, Improper) as exc:
            self.outcome.hangs += 1
            self.outcome.count(case, [], 2 * LIMIT_S)
            self.outcome.blame(Finding(case, f"no answer within {LIMIT_S:g} s, twice ({type(exc).__name__})"))
        finally:
            await connection.close()

    async def _take_away(self, connection: Connection, created: str, body: bytes) -> None:
        document = json.loads(body)
        if created == "endpoint":
            path = f"{MANAGEMENT}/{document['name']}"
        else:
            path = f"/api/2.0/penstock/tokens/{document['id']}"
        data = f"DELETE {path} HTTP/1.1\r\nhost: x\r\n".encode() + self._authorization + b"\r\n"
        case = Case(-1, "management", "take away", "", data)
        try:
            await connection.send(case)
        except (TimeoutError, Improper):
            await self._try_again(case)

    async def _shrunk(self, case: Case, fault: str) -> Case:
        """The case with as much of its body cut away as leaves the fault what it is; few tries."""
        if len(self.outcome.findings) >= MAX_TOLD or not case.is_framed or b"content-length: " not in case.data:
            return case
        head, _, body = case.data.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length: ")]

        def with_body(smaller: bytes) -> Case:
            data = b"\r\n".join([*lines, b"content-length: %d" % len(smaller)]) + b"\r\n\r\n" + smaller
            return replace(case, data=data)

        size, at, tries = len(body) // 2, 0, 0
        while size >= 1 and tries < _SHRINK_TRIES:
            smaller = body[:at] + body[at + size :]
            tries += 1
            if smaller != body and await self._has_fault(with_body(smaller), fault):
                body = smaller
            else:
                at += size
            if at >= len(body):
                size, at = size // 2, 0
        return with_body(body)

    async def _has_fault(self, case: Case, fault: str) -> bool:
        connection = Connection(self._host, self._port)
        try:
            return any(fault_of(answer) == fault for answer in await connection.send(case))
        except (TimeoutError, Improper):
            return False
        finally:
            await connection.close()


def prepare(stack: Stack) -> Target:
    """Endpoints to query and one to change, and the routes as the stack itself tells them.

    The stack's registry is to hold the echo model.
    """
    use_registry(stack)
    for endpoint, model in ENDPOINTS.items():
        served = entity("1" if model == MODEL else register(model), f"{endpoint}-entity", entity_name=model)
        answer = stack.call("POST", MANAGEMENT, {"name": endpoint, "config": {"served_entities": [served]}})
        assert answer.status_code == 200, answer.text
    for endpoint in ENDPOINTS:
        stack.wait_ready(endpoint)
    scratch = stack.call("POST", MANAGEMENT, {"name": "fuzz-scratch"}).json()
    document = stack.call("GET", "/api/2.0/penstock/openapi.json").json()
    return Target(
        stack.token,
        tuple(ENDPOINTS),
        scratch["name"],
        scratch["id"],
        operations_of(document),
        document.get("components", {}).get("schemas", {}),
    )


def lives(stack: Stack) -> dict[str, tuple[int, int]]:
    """The pid of every process, and how often it was started anew: if they change, something died."""
    return {process["name"]: (process["pid"], process["restarts"]) for process in stack.ps()}


def memory(stack: Stack) -> dict[str, float]:
    """Resident MiB of every process with its children."""
    sizes = {}
    for process in stack.ps():
        family = [psutil.Process(process["pid"])]
        if process["role"] != "supervisor":
            family += family[0].children(recursive=True)
        sizes[process["name"]] = round(sum(member.memory_info().rss for member in family) / _MIB, 1)
    return sizes


def cpu_seconds(stack: Stack) -> float:
    """CPU that the stack's living processes have used."""
    root = psutil.Process(stack.pid)
    times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)
