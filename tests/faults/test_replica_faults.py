"""R1, R2: replicas are killed under load, and no request fails that may be begun twice."""

import time
from collections.abc import Callable

from support.fault_report import FaultReport
from support.processes import kill, wait_ready
from support.stack import Stack

KILL_EVERY_S = 5


def test_r1_a_killed_replica_costs_no_request(arena: Stack, serve: Callable[..., str], fault: FaultReport) -> None:
    """One of the two, again and again; the other answers meanwhile."""
    endpoint = serve("killable")
    with fault.load(arena, endpoint) as clients:
        clients.go_on(fault.length(300, 2000))
    baseline = fault.last
    back_after_s = []
    kills, gap_s = fault.length(6, 100), fault.length(1, KILL_EVERY_S)
    with fault.load(arena, endpoint) as clients:
        for number in range(kills):
            pids = wait_ready(arena, "replica", 2, endpoint)
            killed_s = time.monotonic()
            kill(arena, pids[number % 2])
            wait_ready(arena, "replica", 2, endpoint)
            back_after_s.append(round(time.monotonic() - killed_s, 2))
            time.sleep(max(killed_s + gap_s - time.monotonic(), 0))
        clients.go_on(200, in_all=2000)
    fault.note(kills=kills, slowest_back_s=max(back_after_s), baseline_p99_ms=round(baseline.p99_ms, 1))
    fault.assert_faultless()
    assert fault.requests >= 2000
    if fault.is_full:
        assert max(back_after_s) <= 5 + 1
        assert fault.last.p99_ms <= 5 * baseline.p99_ms


def test_r2_all_replicas_killed_at_once_cost_no_request(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """Requests are held until the first is back."""
    endpoint = serve("killable")
    rounds = fault.length(3, 20)
    with fault.load(arena, endpoint) as clients:
        for _ in range(rounds):
            pids = wait_ready(arena, "replica", 2, endpoint)
            clients.go_on(fault.length(200, 500))
            kill(arena, *pids)
        wait_ready(arena, "replica", 2, endpoint)
        clients.go_on(200, in_all=2000)
    fault.note(kills=2 * rounds)
    fault.assert_faultless()
    assert fault.requests >= 2000
