"""R3, R4: gateways are killed and restarted under load; the listening socket, the supervisor's, refuses nobody."""

import os
import signal
import time
from collections.abc import Callable

from support.fault_report import FaultReport
from support.processes import kill, wait_ready
from support.stack import Stack, wait_for


def test_r3_a_killed_gateway_breaks_what_it_had_and_nothing_else(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """One of two on the same port. What it had in flight is cut, which only a client's retry hides."""
    endpoint = serve("gated")
    back_after_s = []
    rounds = fault.length(2, 20)
    with fault.load(arena, endpoint) as clients:
        for number in range(rounds):
            pids = wait_ready(arena, "gateway", 2)
            clients.go_on(fault.length(200, 1500))  # in full so long that a gateway's earlier deaths are forgotten
            killed_s = time.monotonic()
            kill(arena, pids[number % 2])
            wait_ready(arena, "gateway", 2)
            back_after_s.append(round(time.monotonic() - killed_s, 2))
        clients.go_on(200, in_all=2000)
    fault.note(kills=rounds, slowest_back_s=max(back_after_s))
    assert fault.requests >= 2000
    assert [kind for kind in fault.last.errors if not kind.startswith("raw: unknown ")] == []
    assert sum(fault.last.errors.values()) <= rounds * 12, "no more than the raw client's connections"
    assert fault.last.swapped == []
    assert fault.last.doubled == []
    if fault.is_full:
        assert max(back_after_s) <= 2


def test_r4_gateways_restarted_one_after_the_other_cost_no_request(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """By SIGTERM: what is in flight is answered, connections end after an answer, none is refused."""
    endpoint = serve("rolling")
    rounds = fault.length(3, 10)
    with fault.load(arena, endpoint) as clients:
        for number in range(rounds):
            pids = wait_ready(arena, "gateway", 2)
            clients.go_on(200)
            os.kill(pids[number % 2], signal.SIGTERM)
            wait_for(lambda pid=pids[number % 2]: pid not in [p.pid for p in arena.processes("gateway")], "its end", 40)
        wait_ready(arena, "gateway", 2)
        clients.go_on(200, in_all=2000)
    fault.note(restarts=rounds)
    fault.assert_faultless()
    assert fault.requests >= 2000
