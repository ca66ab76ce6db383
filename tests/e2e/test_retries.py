"""Who may be begun again when a replica dies, and what its callers are told; R1 and R2 are in `tests/faults`."""

import os
import signal
import threading
import time

import pytest

from support.load import Load
from support.stack import MANAGEMENT, Stack, entity, refused, wait_for


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
