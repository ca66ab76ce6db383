"""Server-sent events as the clients that we name read them. The clients are real; what they receive is played."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.deployments import databricks as mlflow_client
from mlflow.deployments import get_deploy_client
from openai import APIError, OpenAI

from penstock.domain.errors import DeadlineExceeded, InternalError
from penstock.wire.event_stream import DONE, error_event, event, failure

Reader = Callable[[bytes], list[Any]]
TEXTS = st.text(max_size=30) | st.sampled_from(["\n", "\r\n", "\r", "\x85", "\u2028", "\x1c", "data: ", "[DONE]", ": "])


def openai_reads(stream: bytes, kind: str = "chat") -> list[Any]:
    """What OpenAI's client makes of a stream."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    with OpenAI(
        base_url="http://served", api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    ) as client:
        if kind == "chat":
            chunks = client.chat.completions.create(model="m", messages=[], stream=True)
        else:
            chunks = client.responses.create(model="m", input="hi", stream=True)
        return [chunk.model_dump(mode="json", exclude_unset=True) for chunk in chunks]


@pytest.fixture
def mlflow_reads(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """What MLflow's client for deployments makes of a stream."""
    monkeypatch.setattr(mlflow_client, "get_databricks_host_creds", lambda _: None)  # it asks the host how to log in

    def read(stream: bytes) -> list[Any]:
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(stream)
        monkeypatch.setattr(mlflow_client, "http_request", lambda **_: response)
        return list(get_deploy_client("databricks").predict_stream(endpoint="e", inputs={}))

    return read


def test_an_event_is_one_line_of_data_and_an_empty_line() -> None:
    assert event('{"a": 1}') == b'data: {"a": 1}\n\n'
    assert DONE == b"data: [DONE]\n\n"


def test_an_event_of_the_responses_route_has_its_name_first() -> None:
    assert event("{}", "response.completed") == b"event: response.completed\ndata: {}\n\n"


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, max_size=5))
def test_every_text_arrives_in_both_clients_as_it_was(mlflow_reads: Reader, texts: list[str]) -> None:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    stream = b"".join(event(json.dumps(piece)) for piece in pieces) + DONE
    assert openai_reads(stream) == pieces
    assert mlflow_reads(stream) == pieces


def test_openais_client_reads_named_events() -> None:
    piece = {"type": "response.output_text.delta", "item_id": "r", "delta": "hi"}
    assert openai_reads(event(json.dumps(piece), piece["type"]) + DONE, "responses") == [piece]


@pytest.mark.parametrize("kind", ["chat", "responses"])
def test_openais_client_raises_what_failed_in_a_stream(kind: str) -> None:
    with pytest.raises(APIError, match="the model took too long") as raised:
        openai_reads(event('{"type": "x"}') + error_event(DeadlineExceeded("the model took too long")), kind)
    assert (raised.value.code, raised.value.type) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")


def test_mlflows_client_is_given_what_failed_in_a_stream(mlflow_reads: Reader) -> None:
    first, error = mlflow_reads(event('{"a": 1}') + error_event(InternalError("it ended")))
    assert first == {"a": 1}
    assert (error["error_code"], error["message"]) == ("INTERNAL_ERROR", "it ended")


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=30), TEXTS)
def test_a_failure_is_one_event_whatever_its_message(code: str, message: str) -> None:
    sent = failure(code, message)
    assert sent.startswith(b"data: ")
    assert sent.endswith(b"\n\n")
    line = sent.removeprefix(b"data: ").removesuffix(b"\n\n")
    assert len(line.decode().splitlines()) == 1
    told = json.loads(line)
    assert (told["error_code"], told["message"]) == (code, message)
    assert told["error"] == {"message": message, "type": code, "code": code}
