"""R1, R2 in short: replicas are killed under load, and no request fails that may be begun twice."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from support.linear_model import register_linear
from support.load import Load
from support.stack import MANAGEMENT, Stack, entity, refused, wait_for

ROW = {"dataframe_records": [{"x": 1.5, "n": 2, "s": "hello"}]}


@pytest.fixture(scope="module")
def killable(stack: Stack) -> Iterator[str]:
    """An endpoint of a scikit-learn model with two replicas."""
    register_linear("killable")
    served = {"entity_name": "killable", "entity_version": "1", "workload_size": "Medium"}
    body = {"name": "killable", "config": {"served_entities": [served]}}
    assert stack.call("POST", MANAGEMENT, body).status_code == 200
    stack.wait_ready("killable")
    yield "killable"
    stack.call("DELETE", f"{MANAGEMENT}/killable")


def test_r1_a_killed_replica_costs_no_request(stack: Stack, killable: str) -> None:
    """One of the two, again and again, over at least two thousand requests and six deaths."""
    killed = 0
    with Load(stack, killable, workers=6, body=ROW) as load:
        while load.outcomes.sent < 2000 or killed < 6:
            replicas = wait_for(lambda: (pids := _ready(stack, killable)) and len(pids) == 2 and pids, "both replicas")
            os.kill(replicas[killed % 2], signal.SIGKILL)
            killed += 1
            before = load.outcomes.sent
            wait_for(lambda load=load, before=before: load.outcomes.sent > before + 100, "answers")
    assert load.outcomes.failed == {}


def _ready(stack: Stack, endpoint: str) -> list[int]:
    return [process["pid"] for process in stack.ps("replica", endpoint) if process["state"] == "ready"]


def test_r2_all_replicas_killed_at_once_cost_no_request(stack: Stack, killable: str) -> None:
    for _ in range(3):
        wait_for(lambda: len([p for p in stack.ps("replica", killable) if p["state"] == "ready"]) == 2, "both replicas")
        with Load(stack, killable, workers=6, body=ROW) as load:
            wait_for(lambda load=load: load.outcomes.sent > 50, "load")
            for process in stack.ps("replica", killable):
                os.kill(process["pid"], signal.SIGKILL)
            before = load.outcomes.sent
            wait_for(lambda load=load, before=before: load.outcomes.sent > before + 50, "answers")
        assert load.outcomes.failed == {}


def test_a_body_that_kills_ends_two_replicas_and_nobody_elses_request(stack: Stack) -> None:
    """Marked idempotent, the killer is begun once more, alone; then it has failed, and is not to be sent again."""
    served = entity("1", environment_vars={"PENSTOCK_IDEMPOTENT": "true"}, workload_size="Medium")
    assert stack.call("POST", MANAGEMENT, {"name": "killers", "config": {"served_entities": [served]}}).ok
    try:
        stack.wait_ready("killers")
        with Load(stack, "killers", workers=4) as load:
            wait_for(lambda: load.outcomes.sent > 20, "load")
            answer = stack.ask("killers", {"dataframe_records": [{"x": 1.0, "n": 1, "s": "die"}]})
            before = load.outcomes.sent
            wait_for(lambda: load.outcomes.sent > before + 50, "answers")
        refused(answer, 500, "INTERNAL_ERROR", "ended while it worked on this request")
        assert "retry-after" not in answer.headers
        assert load.outcomes.failed == {}
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/killers")


def test_a_model_of_somebodys_own_code_is_not_begun_again(stack: Stack, live: str) -> None:
    """It may have done something already; what it was asked has failed with the replica."""
    answers = []
    body = {"dataframe_records": [{"x": 1.0, "n": 1, "s": "sleep:30"}]}
    asking = threading.Thread(target=lambda: answers.append(stack.ask(live, body)))
    asking.start()
    time.sleep(1)  # it has begun by then; if it had not, it would be answered by another, later
    for process in stack.ps("replica", live):
        os.kill(process["pid"], signal.SIGKILL)
    asking.join(60)
    refused(answers[0], 500, "INTERNAL_ERROR", "ended while it worked on this request")


@pytest.mark.parametrize("value", ["yes", "", "True"])
def test_idempotent_is_true_or_false(stack: Stack, value: str) -> None:
    served = entity("1", environment_vars={"PENSTOCK_IDEMPOTENT": value})
    answer = stack.call("POST", MANAGEMENT, {"name": "odd", "config": {"served_entities": [served]}})
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "PENSTOCK_IDEMPOTENT", "true or false")
