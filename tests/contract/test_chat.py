"""Models that talk, over the routes of the contract: whole answers, streams, and what ends a stream early."""

import json
import time
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest
import requests
from mlflow.deployments import get_deploy_client

from support.stack import QUERY, Stack, refused, wait_for
from support.talking import serve_talking

pytestmark = pytest.mark.usefixtures("talking")


@pytest.fixture(scope="module")
def talking(stack: Stack) -> None:
    serve_talking(stack)


def say(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


def open_stream(stack: Stack, endpoint: str, body: dict[str, Any]) -> requests.Response:
    return stack.ask(endpoint, {**body, "stream": True}, stream=True)


def events(answer: requests.Response) -> list[Any]:
    """All events of a stream that has to consist of `data:` lines and empty ones, `[DONE]` left as text."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    lines = [line for line in answer.iter_lines(decode_unicode=True) if line]
    assert all(line.startswith("data: ") for line in lines), lines
    data = [line.removeprefix("data: ") for line in lines]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def test_c68_messages_are_answered_unwrapped_with_both_spellings_of_the_reason(stack: Stack) -> None:
    answer = stack.ask("chat_model", say("hello there"))
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hello there"}
    assert choice["finish_reason"] == choice["finishReason"] == "stop"
    assert answer.headers["served-model-name"] == "chat_model-1"


def test_c68_the_sdk_reads_the_answer(stack: Stack) -> None:
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    message = ChatMessage(role=ChatMessageRole.USER, content="hello there")
    answer = stack.workspace().serving_endpoints.query("chat_model", messages=[message], max_tokens=7)
    assert answer.choices[0].message.content == "hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == 1


def test_params_and_custom_inputs_reach_a_chat_model(stack: Stack) -> None:
    body = say("params", temperature=0.25, max_tokens=7, custom_inputs={"k": "v"})
    text = stack.ask("chat_model", body).json()["choices"][0]["message"]["content"]
    assert text == "temperature=0.25 max_tokens=7 custom={'k': 'v'}"


def test_a_chat_agent_keeps_its_own_shape_on_the_invocations_route(stack: Stack) -> None:
    answer = stack.ask("chat_agent", say("hi", custom_inputs={"k": "v"})).json()
    assert answer["messages"][0]["content"] == "agent: hi"
    assert answer["custom_outputs"] == {"k": "v"}
    assert "choices" not in answer


def test_a_responses_agent_answers_input_items(stack: Stack) -> None:
    answer = stack.ask("responses_agent", {"input": [{"role": "user", "content": "hi"}], "custom_inputs": {"k": 1}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"][0]["content"][0]["text"] == "agent: hi custom={'k': 1}"


def test_c67_what_is_for_the_platform_does_not_reach_the_model(stack: Stack) -> None:
    mine = {"client_request_id": "cr-1", "usage_context": {"team": "a"}, "databricks_options": {"return_trace": False}}
    seen = stack.ask("streamer", say("hi", temperature=0.5, **mine))
    assert seen.status_code == 200, seen.text
    assert json.loads(seen.json()) == say("hi", temperature=0.5)


def test_an_agents_trace_is_given_to_those_who_ask_and_kept_by_mlflow(stack: Stack) -> None:
    body = {"input": [{"role": "user", "content": "hi"}], "databricks_options": {"return_trace": True}}
    answer = stack.ask("responses_agent", body)
    output = answer.json()["databricks_output"]
    assert output["databricks_request_id"] == answer.headers["x-databricks-request-id"]
    assert output["trace"]["data"]["spans"][0]["name"] == "predict"
    kept = mlflow.get_trace(output["trace"]["info"]["trace_id"])
    assert kept is not None
    assert kept.info.trace_id == output["trace"]["info"]["trace_id"]
    untraced = stack.ask("chat_model", say("hi", databricks_options={"return_trace": True}))
    assert untraced.json()["databricks_output"]["trace"] is None
    assert "databricks_output" not in stack.ask("responses_agent", {"input": body["input"]}).json()


@pytest.mark.parametrize(
    ("field", "value"),
    [("client_request_id", 7), ("usage_context", {"k": 1}), ("usage_context", "x"), ("databricks_options", [])],
)
def test_a_platform_field_of_a_wrong_type_is_named(stack: Stack, field: str, value: object) -> None:
    refused(stack.ask("chat_model", say("hi", **{field: value})), 400, "BAD_REQUEST", field)


def test_c69_a_stream_is_data_lines_and_done(stack: Stack) -> None:
    answer = open_stream(stack, "chat_model", say("one two three"))
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["served-model-name"] == "chat_model-1"
    assert len(answer.headers["x-databricks-request-id"]) == 36
    *chunks, done = events(answer)
    assert done == "[DONE]"
    assert [chunk["object"] for chunk in chunks] == ["chat.completion.chunk"] * 3
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["one", "two", "three"]


def test_c69_a_piece_leaves_when_it_is_produced(stack: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    answer = open_stream(stack, "chat_model", say(f"gate:{gate}"))
    lines = (line for line in answer.iter_lines(decode_unicode=True) if line)
    assert "before" in next(lines)
    gate.touch()  # the model says no more until now: the first piece was here before the second was made
    assert "after" in next(lines)
    assert next(lines) == "data: [DONE]"


def test_c69_predict_stream_of_mlflow_deployments(stack: Stack, databricks_environment: None, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    chunks = get_deploy_client("databricks").predict_stream(endpoint="chat_model", inputs=say(f"gate:{gate}"))
    assert next(chunks)["choices"][0]["delta"]["content"] == "before"
    gate.touch()
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["after"]


def test_a_chat_agent_streams_in_its_own_shape(stack: Stack) -> None:
    *chunks, _ = events(open_stream(stack, "chat_agent", say("one two")))
    assert [chunk["delta"]["content"] for chunk in chunks] == ["one", "two"]


def test_a_plain_function_streams_also_a_classic_body(stack: Stack) -> None:
    for body in (say("hi"), {"inputs": ["a"]}, {"dataframe_records": [{"a": 1}]}):
        assert events(open_stream(stack, "streamer", body)) == ["first", "second", "[DONE]"]
    assert stack.ask("streamer", {"inputs": ["a"]}).json() == {"predictions": "['a']"}


def test_a_classic_model_is_not_made_to_stream(stack: Stack, live: str) -> None:
    answer = stack.ask(live, {"dataframe_records": [{"x": 1.0, "n": 1, "s": "a"}], "stream": True})
    assert answer.json()["predictions"][0]["s"] == "a"


def test_a_failure_before_the_first_piece_is_an_answer_of_its_own(stack: Stack) -> None:
    refused(open_stream(stack, "chat_model", say("fail:0 one")), 400, "BAD_REQUEST", "lost its voice")
    refused(open_stream(stack, "chat_model", {"messages": "no list"}), 400, "INVALID_PARAMETER_VALUE")


def test_a_failure_in_the_middle_is_told_in_the_stream(stack: Stack) -> None:
    *chunks, failure = events(open_stream(stack, "chat_model", say("fail:2 one two three")))
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["one", "two"]
    assert failure["error_code"] == "BAD_REQUEST"
    assert "lost its voice" in failure["error"]["message"]
    assert stack.ask("chat_model", say("still here")).status_code == 200


def test_a_stream_whose_client_left_is_cancelled_and_frees_its_slot(stack: Stack, tmp_path: Path) -> None:
    counts = [tmp_path / f"count-{index}" for index in range(6)]  # more than the replica has slots
    for count in counts:
        answer = open_stream(stack, "chat_model", say(f"endless:{count}"))
        assert "word-1" in next(line for line in answer.iter_lines(decode_unicode=True) if line)
        answer.close()

    def have_stopped() -> bool:
        before = [count.read_text() for count in counts]
        time.sleep(0.2)  # ten words of a stream that goes on
        return before == [count.read_text() for count in counts]

    wait_for(have_stopped, "all streams to stop", 10)
    assert stack.ask("chat_model", say("hello")).status_code == 200


def test_four_streams_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    streams = [open_stream(stack, "chat_model", say(f"gate:{gate}")) for _ in range(4)]
    lines = [(line for line in answer.iter_lines(decode_unicode=True) if line) for answer in streams]
    for each in lines:
        assert "before" in next(each)
    gate.touch()
    for each in lines:
        assert "after" in next(each)


def test_a_talking_replica_reaches_the_stack_with_a_token_that_opens_little(stack: Stack, live: str) -> None:
    def told(order: str) -> str:
        return str(stack.ask("chat_model", say(order)).json()["choices"][0]["message"]["content"])

    assert told("env:DATABRICKS_HOST") == told("env:MLFLOW_TRACKING_URI") == stack.url
    assert told(f"ask:{live}") == "admin: by agent"
    token = {"Authorization": f"Bearer {told('env:DATABRICKS_TOKEN')}"}
    assert stack.call("GET", "/api/2.0/serving-endpoints/chat_model", headers=token).status_code == 200
    for method, path in (
        ("DELETE", "/api/2.0/serving-endpoints/chat_model"),
        ("PUT", "/api/2.0/serving-endpoints/chat_model/config"),
        ("GET", "/api/2.0/penstock/tokens"),
        ("POST", "/api/2.0/mlflow/registered-models/create"),
    ):
        refused(stack.call(method, path, {}, headers=token), 403, "PERMISSION_DENIED", "This token does not open")


def test_a_classic_replica_gets_no_token(stack: Stack, live: str) -> None:
    row = {"x": 1.0, "n": 1, "s": "env"}
    seen = stack.ask(live, {"dataframe_records": [row]}).json()["predictions"][0]["env"]
    assert not [name for name in seen if name.startswith(("DATABRICKS_", "MLFLOW_TRACKING"))]


def test_the_task_of_a_model_is_told(stack: Stack, live: str) -> None:
    tasks = {name: stack.get(name).get("task") for name in ("chat_model", "chat_agent", "responses_agent", live)}
    assert tasks == {
        "chat_model": "agent/v1/chat",
        "chat_agent": "agent/v2/chat",
        "responses_agent": "agent/v1/responses",
        live: None,
    }


def test_a_client_that_does_not_read_its_stream_is_cut_off(stack: Stack, tmp_path: Path) -> None:
    """What the model says and nobody reads may not pile up in the gateway."""
    (gateway,) = (process for process in stack.ps("gateway"))
    before = psutil.Process(gateway["pid"]).memory_info().rss
    count = tmp_path / "count"
    answer = open_stream(stack, "chat_model", say(f"flood:{count}"))
    wait_for(lambda: count.exists() and count.read_text().endswith("closed"), "the flood to be stopped", 30)
    assert psutil.Process(gateway["pid"]).memory_info().rss - before < 64 << 20
    answer.close()


def test_only_the_query_routes_are_open_to_models(stack: Stack) -> None:
    refused(stack.call("POST", f"{QUERY}/chat/other", {}), 404, "ENDPOINT_NOT_FOUND")
