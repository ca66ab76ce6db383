"""R8 to R11: models that hang, take all memory, cannot be read or take their time; only their callers hear of it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from faults.conftest import SLOW, bad, slow
from support.fault_report import FaultReport
from support.linear_model import register_adder
from support.processes import wait_ready
from support.stack import MANAGEMENT, Stack, refused, registry_of, wait_for

LIMIT_S = 1
CAP_MB = 400


def _do(stack: Stack, endpoint: str, deed: str) -> requests.Response:
    return stack.ask(endpoint, {"dataframe_records": [{"do": deed}]})


def test_r8_a_model_that_hangs_on_some_inputs_costs_these_and_no_other(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """One in a hundred gets 504 at the time limit and the replica is replaced; the next request is answered."""
    steady = serve("steady")
    hanging = serve("hanging", bad(PENSTOCK_REQUEST_TIMEOUT_S=str(LIMIT_S)))
    rounds = fault.length(2, 20)
    with fault.load(arena, steady) as clients:
        for _ in range(rounds):
            (replica,) = wait_ready(arena, "replica", 1, hanging)
            for _ in range(99):
                answer = _do(arena, hanging, "nothing")
                assert answer.status_code == 200, answer.text
            began_s = time.monotonic()
            refused(_do(arena, hanging, "hang"), 504, "DEADLINE_EXCEEDED")
            assert time.monotonic() - began_s >= LIMIT_S * 0.9
            fault.count(100)
            assert _do(arena, hanging, "nothing").json()["predictions"][0]["pid"] != replica
            wait_for(lambda: f"past the time limit of {LIMIT_S} s" in _message(arena, hanging), "the state to say so")
        clients.go_on(100, in_all=2000)
    fault.note(hung=rounds)
    fault.assert_faultless()


def test_r9_memory_past_its_cap_ends_that_replica_and_the_state_says_so(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """Within two seconds, with what it used and what it might; another endpoint loses nothing."""
    steady = serve("steady")
    greedy = serve("greedy", bad(PENSTOCK_MEMORY_LIMIT_MB=str(CAP_MB), PENSTOCK_IDEMPOTENT="false"))
    rounds = fault.length(1, 10)
    told_after_s = []
    with fault.load(arena, steady) as clients:
        for _ in range(rounds):
            wait_ready(arena, "replica", 1, greedy)
            refused(_do(arena, greedy, "oom"), 500, "INTERNAL_ERROR")
            died_s = time.monotonic()
            said = wait_for(lambda: "OOM at" in (m := _message(arena, greedy)) and m, "the state to say so", 10)
            told_after_s.append(round(time.monotonic() - died_s, 2))
            assert f"of {CAP_MB} MB" in said
            assert _do(arena, greedy, "nothing").status_code == 200
            fault.count(2)
        clients.go_on(100, in_all=2000)
    fault.note(out_of_memory=rounds, slowest_told_s=max(told_after_s))
    fault.assert_faultless()
    if fault.is_full:
        assert max(told_after_s) <= 2


def _message(stack: Stack, endpoint: str) -> str:
    return str(stack.get(endpoint)["config"]["served_entities"][0]["state"]["deployment_state_message"])


def _fails_to_update(stack: Stack, endpoint: str, served: dict[str, Any], timeout_s: float = 60) -> str:
    """Update to it; what the failure is said to be. The endpoint goes on."""
    answer = stack.call("PUT", f"{MANAGEMENT}/{endpoint}/config", {"served_entities": [served]})
    assert answer.status_code == 200, answer.text
    failed = stack.wait(endpoint, timeout_s)
    assert (failed["state"]["ready"], failed["state"]["config_update"]) == ("READY", "UPDATE_FAILED")
    return failed["pending_config"]["served_entities"][0]["state"]["deployment_state_message"]


def test_r10_a_corrupt_artifact_is_named_and_the_old_version_serves_on(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    endpoint = serve("intact")
    with fault.load(arena, endpoint) as clients:
        for model, damage, told in (
            ("cut", lambda file: file.write_bytes(file.read_bytes()[:200]), "(in model.pkl)"),
            ("gone", Path.unlink, "model.pkl"),
        ):
            before = set((arena.home / "mlflow").rglob("model.pkl"))
            with registry_of(arena):
                register_adder(model, 0)
            (pickled,) = set((arena.home / "mlflow").rglob("model.pkl")) - before
            damage(pickled)
            message = _fails_to_update(arena, endpoint, {"entity_name": model, "entity_version": "1"})
            assert told in message
        clients.go_on(100, in_all=2000)
    fault.assert_faultless()


def test_r11_a_slow_load_is_waited_for_and_one_that_fails_late_changes_nothing(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """The old version serves all along."""
    endpoint = serve("patient")
    slow_s, late_s = fault.length(6, 120), fault.length(4, 90)
    with fault.load(arena, endpoint) as clients:
        began_s = time.monotonic()
        message = _fails_to_update(arena, endpoint, slow(late_s, LOAD_FAILS="the weights are gone"), 300)
        assert "the weights are gone" in message
        assert time.monotonic() - began_s >= late_s
        served = {"served_entities": [slow(slow_s)]}
        assert arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", served).status_code == 200
        document = arena.wait(endpoint, 600)
        assert document["state"]["config_update"] == "NOT_UPDATING"
        assert document["config"]["served_entities"][0]["entity_name"] == SLOW
        clients.go_on(100, in_all=2000)
    fault.note(load_s=slow_s, fails_after_s=late_s)
    fault.assert_faultless()
    assert set(fault.last.entities) == {"v1", "v2"}
