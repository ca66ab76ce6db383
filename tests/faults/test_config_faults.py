"""R12 to R15: configs change under load, at once, to something broken, and while they are being deleted."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from faults.conftest import adder, slow
from support.fault_report import FaultReport
from support.ledger import Entry, entries
from support.moody import register_moody
from support.stack import MANAGEMENT, Stack, registry_of, split, wait_for

MOODY = "moody"


@dataclass
class Configured:
    """When an entity was part of the config that gateways route by: from before it was asked for to after it ended."""

    entity: str
    from_s: float
    until_s: float = float("inf")

    def covers(self, entry: Entry) -> bool:
        """Whether it was so at any moment of a call."""
        return (
            entry.entity == self.entity and entry.sent_s <= self.until_s and entry.sent_s + entry.seconds >= self.from_s
        )


def test_r12_updates_back_and_forth_cost_no_request(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """Each answer comes from a version that was configured at that moment."""
    endpoint = serve("swinging")
    history = [Configured("v1", 0.0)]
    updates = fault.length(6, 100)
    with fault.load(arena, endpoint) as clients:
        clients.go_on(200)
        for number in range(updates):
            config = {"served_entities": [adder("21"[number % 2])]}
            asked_s = time.monotonic()
            answer = arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", config)
            assert answer.status_code == 200, answer.text
            arena.wait_ready(endpoint)
            history[-1].until_s = time.monotonic()
            history.append(Configured(config["served_entities"][0]["name"], asked_s))
        clients.go_on(200, in_all=2000)
    fault.note(updates=updates)
    fault.assert_faultless()
    assert fault.requests >= 2000
    found = [entry for file in sorted(fault.folder.glob("calls-*")) for entry in entries(file)]
    assert [entry for entry in found if not any(config.covers(entry) for config in history)] == []


def test_r12_a_split_is_kept_to(arena: Stack, serve: Callable[..., str], fault: FaultReport) -> None:
    """90 to 10: within 1 % over 100,000 calls; in short within five standard deviations."""
    served = [adder(version, replicas=1) for version in "12"]
    endpoint = serve("parted", *served, traffic_config=split(v1=90, v2=10))
    calls = fault.length(2000, 100_000)
    with fault.load(arena, endpoint, rate_per_s=fault.length(400, 2000)) as clients:
        clients.go_on(calls, timeout_s=3600)
    fault.assert_faultless()
    share = fault.last.entities["v2"] / fault.last.ok
    fault.note(split_calls=fault.last.ok, split_share=round(share, 4))
    assert abs(share - 0.1) <= (0.01 if fault.is_full else 5 * (0.1 * 0.9 / calls) ** 0.5)


def test_r13_updates_that_fail_cost_no_request(arena: Stack, serve: Callable[..., str], fault: FaultReport) -> None:
    """The old version answers all along; the endpoint is READY and says UPDATE_FAILED."""
    endpoint = serve("stubborn")
    with registry_of(arena):
        register_moody(MOODY, predict="raise")
    updates = fault.length(4, 100)
    with fault.load(arena, endpoint) as clients:
        for number in range(updates):
            # the one cannot be loaded; the other can, and does not answer its own input example
            model = ("broken", MOODY)[number % 2]
            broken = {"served_entities": [{"name": "v2", "entity_name": model, "entity_version": "1"}]}
            answer = arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", broken)
            assert answer.status_code == 200, answer.text
            document = arena.wait(endpoint)
            assert document["state"] == {**document["state"], "ready": "READY", "config_update": "UPDATE_FAILED"}
            assert document["config"]["config_version"] == 1
        clients.go_on(200, in_all=2000)
    fault.note(failed_updates=updates)
    fault.assert_faultless()
    assert fault.last.entities == {"v1": fault.last.ok}
    assert fault.requests >= 2000
    wait_for(lambda: len(arena.processes("replica", endpoint)) == 2, "what the failed updates started to be gone")


def test_r14_of_updates_at_once_one_is_accepted(arena: Stack, serve: Callable[..., str], fault: FaultReport) -> None:
    """And the config that comes of it is that one, whole. No prediction fails meanwhile."""
    endpoint = serve("crowded", adder("1", replicas=1))
    rounds, at_once = fault.length(1, 10), 50

    def update(number: int, turn: int) -> int:
        # Each is another config, so that the first does not end before the last is sent.
        served = slow(5, **{f"V{i}": f"{turn}-{number}" for i in range(20)})
        return arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", {"served_entities": [served]}).status_code

    with fault.load(arena, endpoint) as clients:
        for number in range(rounds):
            with ThreadPoolExecutor(at_once) as pool:
                statuses = list(pool.map(update, range(at_once), [number] * at_once))
            assert sorted(statuses) == [200, *[409] * (at_once - 1)]
            accepted = statuses.index(200)
            config = arena.wait_ready(endpoint)["config"]
            assert config["config_version"] == number + 2
            (served,) = config["served_entities"]
            assert served["environment_vars"] == {"LOAD_S": "5", **{f"V{i}": f"{number}-{accepted}" for i in range(20)}}
        clients.go_on(0, in_all=2000)
    fault.note(updates=rounds * at_once)
    fault.assert_faultless()


def test_r15_deleting_during_an_update_and_creating_again_leaves_nothing_behind(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """The endpoint of the same name is another one, and comes up; no replica of the old one stays, no other suffers."""
    rounds = fault.length(3, 30)
    with fault.load(arena, serve("neighbour")) as clients:
        for number in range(rounds):
            serve("phoenix")
            update = {"served_entities": [adder("2")]}
            assert arena.call("PUT", f"{MANAGEMENT}/phoenix/config", update).status_code == 200
            time.sleep(0.1 * number % 1)  # each round deletes at another moment of the update
            assert arena.call("DELETE", f"{MANAGEMENT}/phoenix").status_code == 200
            again = {"name": "phoenix", "config": {"served_entities": [adder("2", replicas=1)]}}
            began_s = time.monotonic()
            assert arena.call("POST", MANAGEMENT, again).status_code == 200
            arena.wait_ready("phoenix", timeout_s=30)
            wait_for(lambda: len(arena.processes("replica", "phoenix")) == 1, "the old replicas to be gone", 30)
            answer = arena.ask("phoenix", {"dataframe_records": [{"x": 1.0}]})
            assert (answer.status_code, answer.headers["served-model-name"]) == (200, "v2")
            took_s = round(time.monotonic() - began_s, 1)
            fault.note(rounds=rounds, slowest_s=max(took_s, fault.told.get("slowest_s", 0)))
            assert arena.call("DELETE", f"{MANAGEMENT}/phoenix").status_code == 200
        clients.go_on(0, in_all=2000)
    fault.assert_faultless()
    wait_for(lambda: not arena.processes("replica", "phoenix"), "all replicas to be gone")


def test_r15_an_update_while_the_endpoint_wakes_from_zero_costs_no_request(
    arena: Stack, serve: Callable[..., str], fault: FaultReport
) -> None:
    """Whoever woke it is answered by one of the two versions; the new one serves in the end, and sleeps again."""
    endpoint = serve("drowsy", adder("1", replicas=1, scale_to_zero_enabled=True))
    rounds = fault.length(2, 20)
    for number in range(rounds):
        wait_for(lambda: _states(arena, endpoint) == ["asleep"], "it to sleep", 60)
        version = "21"[number % 2]
        update = {"served_entities": [adder(version, replicas=1, scale_to_zero_enabled=True)]}
        with fault.load(arena, endpoint) as clients:
            time.sleep(0.02 * number % 0.2)  # each round updates at another moment of waking
            assert arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", update).status_code == 200
            arena.wait_ready(endpoint, timeout_s=30)
            wait_for(lambda: _states(arena, endpoint) == ["ready"], "the replica of the old version to go", 30)
            clients.go_on(100, in_all=2000 // rounds)
        answer = arena.ask(endpoint, {"dataframe_records": [{"x": 1.0}]})
        assert (answer.status_code, answer.headers["served-model-name"]) == (200, f"v{version}")
    fault.note(updates_from_zero=rounds)
    fault.assert_faultless()


def _states(stack: Stack, endpoint: str) -> list[str]:
    return [process.state for process in stack.processes("replica", endpoint)]
