"""Clients whose patience is shorter than the model's work: what they send again is worked on once and answered once."""

import threading
from collections.abc import Iterator

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config

from support.counted import Counted, serving_counted
from support.stack import Stack


@pytest.fixture(scope="module")
def counted(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counted]:
    with serving_counted(stack, tmp_path_factory.mktemp("counted") / "runs") as endpoint:
        yield endpoint


def test_p3_3_the_sdk_that_sends_again_gets_the_one_answer_of_the_one_run(stack: Stack, counted: Counted) -> None:
    """The SDK's own time-out and retry, with a time-out of 2 s in place of 60."""
    impatient = WorkspaceClient(
        config=Config(host=stack.url, token=stack.token, http_timeout_seconds=2, retry_timeout_seconds=60)
    )
    answer = impatient.serving_endpoints.query("counted", dataframe_records=[counted.row("sdk", 7)])
    assert counted.runs("sdk") == answer.predictions
    assert answer.served_model_name == "counted-1"


def test_p3_3_the_answer_waits_for_the_request_that_comes_again_and_for_one_only(counted: Counted) -> None:
    counted.leave("waits", 2)
    again, once_more = counted.post("waits", 2), counted.post("waits", 2)
    assert again is not None
    assert once_more is not None
    first, second = counted.runs("waits")
    assert (again.json()["predictions"], once_more.json()["predictions"]) == ([first], [second])


def test_p3_3_only_the_same_request_joins(stack: Stack, counted: Counted) -> None:
    """Another principal, another body and another path are run for themselves, though all are sent meanwhile."""
    bob = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "bob"}).json()["token"]
    stack.call("PUT", "/api/2.0/penstock/principals/bob", {"groups": ["admins"]})
    counted.leave("same", 6)
    answers = {}

    def ask(who: str, **options: str | float) -> None:
        answer = counted.post(**{"tag": "same", "seconds": 6, **options})  # type: ignore[arg-type]
        assert answer is not None
        answers[who] = answer

    asked = {
        "principal": {"token": bob},
        "path": {"entity": "counted-1"},
        "body": {"seconds": 5},
        "same": {},
    }
    threads = [threading.Thread(target=ask, args=(who,), kwargs=options) for who, options in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    first, *others = counted.runs("same")
    assert answers["same"].json()["predictions"] == [first]
    assert sorted(others) == sorted(answers[who].json()["predictions"][0] for who in ("principal", "path", "body"))
    assert answers["same"].headers["databricks-request-id"] == answers["same"].headers["x-databricks-request-id"]
