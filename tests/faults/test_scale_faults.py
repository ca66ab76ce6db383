"""R17, R18: from nothing to full load at once, and load that swings around the point where replicas are added."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import aiohttp

from faults.conftest import SHORT_WINDOWS, adder
from support.fault_report import FaultReport
from support.stack import QUERY, Stack, wait_for


def _states(stack: Stack, endpoint: str) -> list[str]:
    return sorted(p.state for p in stack.processes("replica", endpoint))


def _restarts(stack: Stack, endpoint: str) -> list[int]:
    return [p.started_at_ms for p in stack.processes("replica", endpoint)]


def test_r17_bursts_at_zero_are_held_and_answered_by_one_wake_each(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """From 0 to 500 requests a second."""
    endpoint = serve("dozing", adder("1", replicas=1, scale_to_zero_enabled=True))
    slowest_ms = []
    bursts = fault.length(2, 20)
    for _ in range(bursts):
        wait_for(lambda: _states(arena, endpoint) == ["asleep"], "it to sleep", 60)
        woken = set(_restarts(arena, endpoint))
        with fault.load(arena, endpoint, rate_per_s=500) as clients:
            clients.go_on(1000)
            woken |= set(_restarts(arena, endpoint))
        slowest_ms.append(round(fault.last.slowest_ms))
        assert len(woken) == 2, "once before it slept, once for the burst"
    fault.note(bursts=bursts, slowest_answer_ms=max(slowest_ms))
    fault.assert_faultless()
    assert fault.requests >= 2000


def test_r18_load_that_swings_around_the_threshold_does_not_make_replicas_flap(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """A square wave, faster than the window: at most one change of direction in a window, and no request is lost."""
    window_s = float(SHORT_WINDOWS["PENSTOCK_AUTOSCALE_STABLE_S"])
    slowly = {"PENSTOCK_PREDICT_TIER": "mlflow"}  # the clients are not to be the bottleneck
    served = adder("1", min_provisioned_concurrency=4, max_provisioned_concurrency=8, environment_vars=slowly)
    endpoint = serve("swaying", served)
    until_s = time.monotonic() + fault.length(24, 1800)
    counts: list[tuple[float, int]] = []
    _note(counts, arena, endpoint)
    with fault.load(arena, endpoint, rate_per_s=40) as clients:
        while time.monotonic() < until_s:
            asyncio.run(_crowd(arena, endpoint, 10, seconds=2))
            _note(counts, arena, endpoint)
            time.sleep(2)
            _note(counts, arena, endpoint)
        clients.go_on(50)
    assert max(count for _, count in counts) == 2, "the wave is high enough to ask for a second"
    wait_for(lambda: _states(arena, endpoint) == ["ready"], "the second to go")
    _note(counts, arena, endpoint)
    turns = _turns(counts)
    fault.note(changes=len(counts) - 1, turns=len(turns))
    fault.assert_faultless()
    assert all(later - earlier >= window_s * 0.9 for earlier, later in pairwise(turns))


async def _crowd(stack: Stack, endpoint: str, clients: int, seconds: float) -> None:
    """So many clients that ask one thing after the other."""
    until_s = time.monotonic() + seconds
    url = f"{stack.url}{QUERY}/{endpoint}/invocations"
    async with aiohttp.ClientSession(headers=stack.headers) as session:

        async def ask() -> None:
            while time.monotonic() < until_s:
                async with session.post(url, json={"dataframe_records": [{"x": 1.0}]}) as response:
                    assert response.status == 200, await response.text()

        await asyncio.gather(*(ask() for _ in range(clients)))


def _note(counts: list[tuple[float, int]], stack: Stack, endpoint: str) -> None:
    """The number of replicas that are wanted, if it has changed."""
    now = len([state for state in _states(stack, endpoint) if state != "draining"])
    if not counts or counts[-1][1] != now:
        counts.append((time.monotonic(), now))


def _turns(counts: list[tuple[float, int]]) -> list[float]:
    """When the number began to grow or to shrink after it had done the other."""
    steps = [(at, now - before) for (_, before), (at, now) in pairwise(counts)]
    return [at for (_, before), (at, step) in pairwise(steps) if (step > 0) != (before > 0)]
