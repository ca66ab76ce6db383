"""Replicas come with load and go with it, down to none, and no request is lost on the way."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.load import Load, burst
from support.moody import register_moody
from support.stack import MANAGEMENT, MODEL, Stack, register_echo, registry_of, start_stack, wait_for

SETTINGS = {
    "PENSTOCK_AUTOSCALE_STABLE_S": "4",
    "PENSTOCK_AUTOSCALE_PANIC_S": "2",
    "PENSTOCK_SCALE_TO_ZERO_AFTER_S": "3",
    "PENSTOCK_REPLICA_MEMORY_MB": "1000",
}
HEAVY = "heavy"


@pytest.fixture(scope="module")
def sleepy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with short windows, and three endpoints: one that may sleep, one that may not, one between bounds."""
    running = start_stack(Path(tmp_path_factory.mktemp("sleepy")) / "home", env=SETTINGS)
    try:
        with registry_of(running):
            register_echo("1")
            wait_for(lambda: [p for p in running.ps("zygote") if p["state"] == "ready"], "the fork server")
            make(running, "dozes", scale_to_zero_enabled=True)
            make(running, "wakeful")
            make(running, "between", min_provisioned_concurrency=4, max_provisioned_concurrency=8)
            yield running
    finally:
        running.stop()


def make(stack: Stack, name: str, **sizing: Any) -> None:
    body = {"name": name, "config": {"served_entities": [{"entity_name": MODEL, "entity_version": "1", **sizing}]}}
    assert stack.call("POST", MANAGEMENT, body).status_code == 200
    stack.wait_ready(name)


def states(stack: Stack, endpoint: str) -> list[str]:
    return [p["state"] for p in stack.ps("replica", endpoint)]


def until_asleep(stack: Stack, endpoint: str) -> None:
    wait_for(lambda: states(stack, endpoint) == ["asleep"], f"{endpoint} to sleep")


def starts(stack: Stack, endpoint: str) -> int:
    """How often a replica of the endpoint has become ready."""
    served = stack.get(endpoint)["config"]["served_entities"][0]["name"]
    path = f"{MANAGEMENT}/{endpoint}/served-models/{served}/build-logs"
    return str(stack.call("GET", path).json()["logs"]).count("ready after")


def test_c88_p3_5_an_endpoint_scales_to_zero_stays_ready_and_wakes_for_the_next_query(sleepy: Stack) -> None:
    until_asleep(sleepy, "dozes")
    assert sleepy.ps("replica", "dozes")[0]["pid"] is None
    endpoint = sleepy.get("dozes")
    assert endpoint["state"]["ready"] == "READY"
    (served,) = endpoint["config"]["served_entities"]
    assert served["state"]["deployment"] == "DEPLOYMENT_READY"
    assert "zero" in served["state"]["deployment_state_message"]
    assert states(sleepy, "wakeful") == ["ready"], "what may not sleep does not"

    answer = sleepy.workspace().serving_endpoints.query("dozes", dataframe_records=[{"x": 1.0, "n": 1, "s": "a"}])
    assert answer.predictions
    warm = sleepy.ask("dozes")
    assert warm.status_code == 200
    assert "x-penstock-cold-start" not in warm.headers
    until_asleep(sleepy, "dozes")
    cold = sleepy.ask("dozes")
    assert cold.status_code == 200
    assert int(cold.headers["x-penstock-cold-start"]) > 0
    assert sleepy.get("dozes")["config"]["config_version"] == 1


def test_r17_p3_5_a_burst_at_zero_is_held_and_answered_by_one_wake(sleepy: Stack) -> None:
    for _ in range(3):
        until_asleep(sleepy, "dozes")
        before = starts(sleepy, "dozes")
        outcomes = burst(sleepy, "dozes", 200)
        assert outcomes.failed == {}
        assert starts(sleepy, "dozes") == before + 1


def test_p3_5_it_wakes_while_the_control_plane_is_away_and_a_gateway_has_just_started(sleepy: Stack) -> None:
    until_asleep(sleepy, "dozes")
    (control_plane,) = sleepy.ps("control-plane")
    (gateway,) = sleepy.ps("gateway")
    psutil.Process(control_plane["pid"]).suspend()
    try:
        os.kill(gateway["pid"], signal.SIGKILL)
        wait_for(lambda: answers(sleepy, "/health"), "the next gateway")
        assert burst(sleepy, "dozes", 50).failed == {}
    finally:
        psutil.Process(control_plane["pid"]).resume()
    until_asleep(sleepy, "dozes")


def answers(stack: Stack, path: str) -> bool:
    try:
        return stack.call("GET", path).status_code == 200
    except OSError:
        return False


def test_p3_4_load_brings_a_second_replica_and_its_end_takes_it_away(sleepy: Stack) -> None:
    assert states(sleepy, "between") == ["ready"]
    with Load(sleepy, "between", workers=12) as load:
        wait_for(lambda: states(sleepy, "between") == ["ready", "ready"], "a second replica")
        before = load.outcomes.sent
        wait_for(lambda: load.outcomes.sent > before + 200, "some load on both")
    wait_for(lambda: states(sleepy, "between") == ["ready"], "the second replica to go")
    assert load.outcomes.failed == {}
    assert load.outcomes.sent > 200


def test_p3_2_what_does_not_fit_into_memory_is_not_admitted_and_says_so(sleepy: Stack) -> None:
    register_moody(HEAVY, load_mb=600)
    served = {"entity_name": HEAVY, "entity_version": "1"}
    for name in ("fits", "too-much"):
        answer = sleepy.call("POST", MANAGEMENT, {"name": name, "config": {"served_entities": [served]}})
        assert answer.status_code == 200, answer.text
        sleepy.wait(name)
    assert sleepy.get("fits")["state"]["config_update"] == "NOT_UPDATING"
    refused = sleepy.get("too-much")
    assert refused["state"] == {**refused["state"], "ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
    message = refused["pending_config"]["served_entities"][0]["state"]["deployment_state_message"]
    assert "not enough memory" in message
    assert "of the 1000 MB" in message
    wait_for(lambda: not sleepy.ps("replica", "too-much"), "its replica to go")
    assert sleepy.call("DELETE", f"{MANAGEMENT}/fits").status_code == 200
    config = {"served_entities": [served]}
    assert sleepy.call("PUT", f"{MANAGEMENT}/too-much/config", config).status_code == 200
    sleepy.wait_ready("too-much")
    assert sleepy.call("DELETE", f"{MANAGEMENT}/too-much").status_code == 200


def test_p3_2_an_entity_that_waits_for_others_has_more_replicas_than_cores(sleepy: Stack) -> None:
    cores = psutil.cpu_count() or 1
    sizing = {"min_provisioned_concurrency": 4 * cores + 4, "max_provisioned_concurrency": 4 * cores + 4}
    make(sleepy, "waits", environment_vars={"PENSTOCK_EXECUTOR": "threads"}, **sizing)
    assert states(sleepy, "waits") == ["ready"] * (cores + 1)
    assert burst(sleepy, "waits", 40).failed == {}
    assert sleepy.call("DELETE", f"{MANAGEMENT}/waits").status_code == 200
    make(sleepy, "computes", **sizing)
    assert states(sleepy, "computes") == ["ready"] * cores, "what is beyond the cores is queue"
    assert sleepy.call("DELETE", f"{MANAGEMENT}/computes").status_code == 200


def test_p3_5_what_is_at_zero_stays_there_after_everything_was_killed(sleepy: Stack) -> None:
    until_asleep(sleepy, "dozes")
    before = starts(sleepy, "dozes")
    sleepy.kill_everything()
    again = start_stack(sleepy.home, env=SETTINGS)
    sleepy.url, sleepy.process = again.url, again.process
    sleepy.wait_ready("wakeful")
    assert states(sleepy, "dozes") == ["asleep"]
    assert sleepy.get("dozes")["state"]["ready"] == "READY"
    assert starts(sleepy, "dozes") == before
    assert burst(sleepy, "dozes", 20).failed == {}


def test_p3_9_to_zero_and_back_are_events(sleepy: Stack) -> None:
    until_asleep(sleepy, "dozes")
    assert sleepy.ask("dozes").status_code == 200

    def told() -> list[dict[str, Any]]:
        """Events since the first time at zero, the oldest first."""
        events = sleepy.call("GET", f"{MANAGEMENT}/dozes/events").json()["events"][::-1]
        kinds = [event["kind"] for event in events]
        return events[kinds.index("SCALED") :] if "SCALED" in kinds else []

    wait_for(lambda: "REPLICA_WOKEN" in [event["kind"] for event in told()], "the wake to be told")
    assert [event["kind"] for event in told()][:3] == ["SCALED", "REPLICA_STOPPED", "REPLICA_SLEPT"]
    assert told()[0]["reason"] == "From 1 to 0 replicas."
