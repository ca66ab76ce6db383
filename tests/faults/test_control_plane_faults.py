"""R5: predictions do not need the control plane."""

import time
from collections.abc import Callable

from faults.conftest import adder
from support.fault_report import FaultReport
from support.processes import kill, ready_pids, wait_ready
from support.stack import MANAGEMENT, Stack, wait_for


def test_r5_predictions_go_on_while_the_control_plane_is_dead(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """It is killed whenever it comes up. A replica dies meanwhile, an endpoint at zero is asked, a gateway starts."""
    dozing = serve("dozing", adder("1", replicas=1, scale_to_zero_enabled=True))
    endpoint = serve("independent")
    wait_for(lambda: [p.state for p in arena.processes("replica", dozing)] == ["asleep"], "it to sleep")
    replicas = set(wait_ready(arena, "replica", 2, endpoint))
    gateways = wait_ready(arena, "gateway", 2)
    kills = 0
    dead_until_s = time.monotonic() + fault.length(5, 600)
    has_killed_others = False
    with fault.load(arena, endpoint) as clients:
        while time.monotonic() < dead_until_s or not has_killed_others:
            for pid in [p.pid for p in arena.processes("control-plane") if p.pid is not None]:
                kill(arena, pid)
                kills += 1
            if not has_killed_others and kills > 1:
                victim = min(replicas)
                kill(arena, victim)
                replicas = (replicas - {victim}) | set(wait_ready(arena, "replica", 2, endpoint))
                woken = arena.ask(dozing, {"dataframe_records": [{"x": 1.0}]})
                assert (woken.status_code, "x-penstock-cold-start" in woken.headers) == (200, True)
                fault.count(1)
                has_killed_others = True
            time.sleep(0.05)
        seen_down_s = time.monotonic()
        wait_ready(arena, "control-plane", 1)
        up_s = time.monotonic()
        wait_for(lambda: _knows(arena, endpoint), "the endpoint to be told")
        told_after_s = time.monotonic() - up_s
        clients.go_on(fault.length(300, 2000))
    fault.note(
        control_plane_kills=kills, back_after_s=round(up_s - seen_down_s, 2), told_after_s=round(told_after_s, 2)
    )
    fault.assert_faultless()
    assert fault.requests >= fault.length(1000, 2000)
    assert set(ready_pids(arena, "replica", endpoint)) == replicas, "recovery restarts no replica"
    assert arena.wait_ready(endpoint)["config"]["config_version"] == 1
    if fault.is_full:
        assert told_after_s <= 3

    # A gateway that starts while the control plane is dead serves from the saved table; what it had in flight was
    # cut with it, so this is asked for by itself.
    kill(arena, *[p.pid for p in arena.processes("control-plane") if p.pid is not None])
    kill(arena, *gateways)
    answers = [arena.ask(endpoint, {"dataframe_records": [{"x": float(x)}]}) for x in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    fault.count(20)
    wait_ready(arena, "gateway", 2)
    wait_ready(arena, "control-plane", 1)
    assert set(ready_pids(arena, "replica", endpoint)) == replicas


def _knows(stack: Stack, endpoint: str) -> bool:
    answer = stack.call("GET", f"{MANAGEMENT}/{endpoint}")
    return answer.status_code == 200 and answer.json()["state"]["ready"] == "READY"
