"""What becomes of predictions that cannot be logged, on a stack whose disk is full, not there, and there again."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.spool.record import Kind, read_records
from penstock.spool.segments import segments
from support.processes import kill, wait_ready
from support.stack import MANAGEMENT, Stack, entity, register_echo, registry_of, start_stack, wait_for

TABLE = {"inference_table_config": {"enabled": True, "catalog_name": "main", "schema_name": "default"}}
BIG = {"dataframe_records": [{"x": 1.5, "n": 2, "s": "x" * 100_000}]}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a spool of 1 MiB, an endpoint that is `available` and one that is `strict`."""
    home = Path(tmp_path_factory.mktemp("spool-modes")) / "home"
    running = start_stack(home, env={"PENSTOCK_SPOOL_MAX_MB": "1"})
    try:
        with registry_of(running):
            register_echo("1")
        for name, variables in (("available", {}), ("strict", {"PENSTOCK_SPOOL_MODE": "strict"})):
            served = entity(environment_vars=variables)
            body = {"name": name, "config": {"served_entities": [served]}, "ai_gateway": TABLE}
            answer = running.call("POST", MANAGEMENT, body)
            assert answer.status_code == 200, answer.text
            running.wait_ready(name)
        (table_writer,) = wait_ready(running, "table-writer", 1)
        os.kill(table_writer, signal.SIGSTOP)  # nobody is to empty the spool
        try:
            yield running
        finally:
            os.kill(table_writer, signal.SIGCONT)
    finally:
        running.stop()


def logged(stack: Stack) -> set[str]:
    """Ids of the requests that are in the spool."""
    paths = segments(stack.home / "spool" / "gateway-0")
    found = [record for path in paths for record, _ in read_records(path.read_bytes())]
    return {record.request_id for record in found if record.kind is Kind.WHOLE}


def not_logged(stack: Stack, name: str) -> int:
    return stack.get(name)["state"]["not_logged"]


def kinds(stack: Stack, name: str) -> list[str]:
    return [event["kind"] for event in stack.call("GET", f"{MANAGEMENT}/{name}/events").json()["events"]]


def ask(stack: Stack, name: str, count: int, body: Any = BIG) -> list[tuple[str, int]]:
    answers = [stack.ask(name, body) for _ in range(count)]
    return [(answer.headers["databricks-request-id"], answer.status_code) for answer in answers]


def test_p5_1_a_full_spool_fails_no_prediction_counts_exactly_and_is_written_again_once_there_is_room(
    stack: Stack,
) -> None:
    answered = ask(stack, "available", 30)
    assert {status for _, status in answered} == {200}
    missing = sum(request_id not in logged(stack) for request_id, _ in answered)
    assert 15 < missing < 30
    assert not_logged(stack, "available") == missing
    refused = stack.ask("strict", BIG)
    assert (refused.status_code, refused.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "could not be logged" in refused.json()["message"]
    assert refused.headers["retry-after"] == "1"
    assert not_logged(stack, "strict") == 0
    wait_for(lambda: "NOT_LOGGED" in kinds(stack, "available"), "the event")
    assert "NOT_LOGGED" not in kinds(stack, "strict")

    kill(stack, *wait_ready(stack, "gateway", 1))
    wait_ready(stack, "gateway", 1)
    more = ask(stack, "available", 3)
    missing += sum(request_id not in logged(stack) for request_id, _ in more)
    assert not_logged(stack, "available") == missing, "the gateway's end has lost no count"

    for segment in segments(stack.home / "spool" / "gateway-0")[:-1]:
        segment.unlink()
    wait_for(lambda: stack.ask("strict").status_code == 200, "room to be found")
    ((request_id, status),) = ask(stack, "strict", 1)
    assert status == 200
    assert request_id in logged(stack)
    before = not_logged(stack, "available")
    assert ask(stack, "available", 1)[0][0] in logged(stack)
    assert not_logged(stack, "available") == before
    wait_for(lambda: "LOGGED_AGAIN" in kinds(stack, "available"), "the end of the loss to be told")


def test_p5_1_a_folder_that_cannot_be_written_fails_no_prediction_either(stack: Stack) -> None:
    folder = stack.home / "spool"
    before = not_logged(stack, "available")
    (gateway,) = wait_ready(stack, "gateway", 1)
    shutil.rmtree(folder)
    folder.write_text("in the way of the folder")
    kill(stack, gateway)
    wait_ready(stack, "gateway", 1)
    wait_for(lambda: stack.ask("strict").status_code == 503, "the strict endpoint to notice")
    assert {status for _, status in ask(stack, "available", 5)} == {200}
    wait_for(lambda: not_logged(stack, "available") == 5, "the gateway to tell of them")
    assert before > 5, "those of the folder that is gone"
    folder.unlink()
    wait_for(lambda: stack.ask("strict").status_code == 200, "the folder to be made")
    wait_for(lambda: not_logged(stack, "available") == 5, "the count to be moved to its file")
    ((request_id, _),) = ask(stack, "available", 1)
    assert request_id in logged(stack)
