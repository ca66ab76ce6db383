"""What clients send again to another gateway than before: with three of them it is worked on once and answered once."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from support.counted import Counted, serving_counted
from support.processes import connected_to, held, kill, wait_ready
from support.stack import Stack, refused, registry_of, start_stack, wait_for

GATEWAYS = 3


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with three gateways."""
    running = start_stack(tmp_path_factory.mktemp("trio") / "home", "--gateways", str(GATEWAYS))
    try:
        with registry_of(running):
            yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def counted(trio: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    """A model that is not known to be one that may be asked twice."""
    with serving_counted(trio, tmp_path_factory.mktemp("counted") / "runs") as endpoint:
        yield endpoint


def post(stack: Stack, counted: Counted, gateway: int, *args: Any, **options: Any) -> requests.Response | None:
    """Ask by a new connection to this gateway."""
    pids = wait_ready(stack, "gateway", GATEWAYS)
    with connected_to(stack, pids[gateway]) as client:
        return counted.post(*args, client=client, **options)


def leave(stack: Stack, counted: Counted, gateway: int, tag: str, seconds: float) -> None:
    """Ask this gateway, leave once the model is at work, and wait until that is known."""
    with connected_to(stack, wait_ready(stack, "gateway", GATEWAYS)[gateway]) as client:
        counted.leave(tag, seconds, client)
    wait_for(lambda: held(stack), f"the gateway to hold {tag}")


def test_p3_3_the_sdk_that_sends_again_finds_what_it_left_at_whatever_gateway(trio: Stack, counted: Counted) -> None:
    """The SDK's own time-out and retry, with a time-out of 2 s in place of 60."""
    impatient = WorkspaceClient(
        config=Config(host=trio.url, token=trio.token, http_timeout_seconds=2, retry_timeout_seconds=60)
    )
    answer = impatient.serving_endpoints.query("counted", dataframe_records=[counted.row("sdk", 9)])
    assert counted.runs("sdk") == answer.predictions


def test_p3_3_what_is_left_at_one_gateway_and_sent_to_every_one_is_run_once(trio: Stack, counted: Counted) -> None:
    leave(trio, counted, 0, "round", 10)
    for gateway in (1, 2, 0, 2, 1):
        answer = post(trio, counted, gateway, "round", 10, patience_s=0.5)
        if answer is not None:
            break
        wait_for(lambda: held(trio), "a gateway to hold it again")
    else:
        answer = post(trio, counted, 2, "round", 10)
        assert answer is not None
    assert answer.json()["predictions"] == counted.runs("round")
    assert answer.headers["served-model-name"] == "counted-1"
    assert answer.headers["databricks-request-id"] == answer.headers["x-databricks-request-id"]


def test_p3_3_an_answer_that_is_kept_is_given_by_another_gateway_once(trio: Stack, counted: Counted) -> None:
    leave(trio, counted, 1, "kept", 2)
    answers = [post(trio, counted, gateway, "kept", 2) for gateway in (2, 0)]
    assert [answer.json()["predictions"] for answer in answers if answer] == [[run] for run in counted.runs("kept")]
    assert len(counted.runs("kept")) == 2


def test_p3_3_a_gateway_killed_while_another_s_client_waits_for_it_leaves_nobody_waiting(
    trio: Stack, counted: Counted, tmp_path: Path
) -> None:
    """Run again if the model may be asked twice; an error if nobody knows that it may. No other gateway is harmed."""
    with serving_counted(trio, tmp_path / "runs", "twice", PENSTOCK_IDEMPOTENT="true") as twice:
        pids = wait_ready(trio, "gateway", GATEWAYS)
        answers: dict[str, requests.Response | None] = {}
        threads = []

        def wait(endpoint: Counted) -> None:
            answers[endpoint.name] = post(trio, endpoint, 1, "doomed", 12)

        for endpoint in (counted, twice):
            leave(trio, endpoint, 0, "doomed", 12)
            waiting = threading.Thread(target=wait, args=(endpoint,))
            waiting.start()
            threads.append(waiting)
            wait_for(lambda: not held(trio), "the other gateway's client to take its place")
        kill(trio, pids[0])
        for thread in threads:
            thread.join()
        assert answers["counted"] is not None
        refused(answers["counted"], 500, "INTERNAL_ERROR", "asked twice")
        assert len(counted.runs("doomed")) == 1
        first, second = twice.runs("doomed")
        assert answers["twice"] is not None
        assert answers["twice"].json()["predictions"] == [second] != [first]
        wait_ready(trio, "gateway", GATEWAYS)
