"""One round of one server: so many at once, for so long; and what it was."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from comparing.environments import Unavailable
from comparing.peers import Served
from penstock.client.load.plan import LoadPlan
from penstock.client.load.probe import Unanswered, ask_once
from penstock.client.load.target import request_bytes
from penstock.processes.load_generator import LoadFailed, generate_load
from penstock.runtime.spending import cpu_s_of, machine_time, memory_bytes_of

_TIMEOUT_S = 30.0
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of all processes of the server, for each request."""
    errors: int
    generator_busy: float
    machine_busy: float


def check_answer(served: Served, body: bytes, expected: Sequence[Any]) -> None:
    """Raises Unavailable if the server does not predict what the model predicts without it."""
    try:
        answer = ask_once(served.target, body, served.headers, _TIMEOUT_S)
    except Unanswered as exc:
        raise Unavailable(str(exc)) from exc
    try:
        found = json.loads(answer.body)["predictions"]
    except (ValueError, KeyError, TypeError) as exc:
        raise Unavailable(f"it answered {answer.status}: {answer.body[:500].decode(errors='replace')}") from exc
    flat = [one[0] if isinstance(one, list) else one for one in found]
    is_right = len(flat) == len(expected) and all(
        isinstance(a, int | float) and abs(a - b) <= _TOLERANCE for a, b in zip(flat, expected, strict=True)
    )
    if not is_right:
        raise Unavailable(f"it answered {str(found)[:200]}; wanted {str(list(expected))[:200]}")


def one_round(served: Served, body: bytes, concurrency: int, seconds: float) -> Round:
    """Load a server.

    Raises:
        Unavailable: it takes no connections any more.
    """
    request = request_bytes(served.target, body, served.headers)
    plan = LoadPlan(served.target, request, concurrency, seconds, None, _TIMEOUT_S)
    cpu_s, machine = cpu_s_of(served.pids()), machine_time()
    try:
        tally = generate_load(plan, processes=1)
    except LoadFailed as exc:
        raise Unavailable(str(exc)) from exc
    return Round(
        requests_per_s=round(tally.good_per_s, 1),
        p50_ms=round(tally.latencies.quantile_ns(0.5) / 1e6, 4),
        p99_ms=round(tally.latencies.quantile_ns(0.99) / 1e6, 4),
        cpu_us=round((cpu_s_of(served.pids()) - cpu_s) * 1e6 / max(tally.requests, 1), 2),
        errors=tally.bad,
        generator_busy=round(tally.busiest, 3),
        machine_busy=round(machine_time().busy_share_since(machine), 3),
    )


def memory_mib(served: Served) -> float | None:
    """What a server holds, pages that several share divided among them."""
    held, unrelated = memory_bytes_of(served.pids()), memory_bytes_of(served.unrelated_pids())
    return None if held is None or unrelated is None else round((held - unrelated) / (1 << 20), 1)


def median(rounds: Sequence[Round]) -> Round:
    """The median of each figure on its own; errors are added up."""
    figures = [asdict(one) for one in rounds]
    middle = {name: statistics.median(one[name] for one in figures) for name in figures[0]}
    return Round(**{**middle, "errors": sum(one.errors for one in rounds)})
