"""The OpenAI-shaped routes, by the clients that people use: openai, databricks-openai, the SDK's, LangChain's."""

import asyncio
import base64
import importlib.util
import struct
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from types import ModuleType
from typing import Any

import pytest

from support.stack import QUERY, Stack, penstock, refused
from support.talking import serve_talking

openai = pytest.importorskip("openai", reason="the openai client is not installed")

offered = pytest.mark.client

MESSAGES: Any = [{"role": "user", "content": "one two"}]


@pytest.fixture(scope="module", autouse=True)
def talking(stack: Stack) -> None:
    serve_talking(stack)


@pytest.fixture
def client(stack: Stack) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{stack.url}{QUERY}", api_key=stack.token, max_retries=0) as made:
        yield made


def close_to(vectors: list[list[float]]) -> list[Any]:
    return [pytest.approx(vector, rel=1e-6) for vector in vectors]


@offered("openai", "chat.completions.create")
def test_c70_openai_chat(client: Any) -> None:
    answer = client.chat.completions.create(model="chat_model", messages=MESSAGES, temperature=0.5)
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.model == "chat_model"
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage.prompt_tokens == 1


@offered("openai", "chat.completions.create(stream=True)")
def test_c70_openai_chat_stream(client: Any) -> None:
    chunks = list(client.chat.completions.create(model="chat_model", messages=MESSAGES, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["one", "two"]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1


def test_c70_openai_chat_with_an_agent(client: Any) -> None:
    answer = client.chat.completions.create(model="chat_agent", messages=MESSAGES)
    assert answer.choices[0].message.content == "agent: one two"
    assert answer.messages[0]["content"] == "agent: one two"
    chunks = list(client.chat.completions.create(model="chat_agent", messages=MESSAGES, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["one", "two"]


def test_c70_openai_chat_with_a_plain_function(client: Any) -> None:
    answer = client.chat.completions.create(model="streamer", messages=MESSAGES)
    assert "one two" in answer.choices[0].message.content
    assert "streamer" not in answer.choices[0].message.content, "the endpoint's name is no input of the model"
    chunks = list(client.chat.completions.create(model="streamer", messages=MESSAGES, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["first", "second"]


@offered("openai", "completions.create")
@offered("openai", "completions.create(stream=True)")
def test_c70_openai_completions(client: Any) -> None:
    answer = client.completions.create(model="streamer", prompt="noon")
    assert answer.choices[0].text == "after noon"
    assert answer.object == "text_completion"
    chunks = list(client.completions.create(model="streamer", prompt="noon", stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == ["first", "second"]


@offered("openai", "embeddings.create")
def test_c70_openai_embeddings_in_both_encodings(client: Any, stack: Stack) -> None:
    by_default = client.embeddings.create(model="embedder", input=["hello", "you"])
    assert [entry.embedding for entry in by_default.data] == close_to([[5.0, 2.0, 0.1], [3.0, 2.0, 0.1]])
    as_floats = client.embeddings.create(model="embedder", input="hello", encoding_format="float")
    assert [entry.embedding for entry in as_floats.data] == [[5.0, 2.0, 0.1]]
    asked = {"model": "embedder", "input": "hello", "encoding_format": "base64"}
    entry = stack.call("POST", f"{QUERY}/embeddings", asked).json()["data"][0]
    packed = base64.b64decode(entry["embedding"])
    assert packed == struct.pack("<3f", 5.0, 2.0, 0.1)


@offered("openai", "responses.create")
def test_c70_openai_responses(client: Any) -> None:
    answer = client.responses.create(model="responses_agent", input="one two")
    assert answer.output_text == "agent: one two custom=None"
    assert answer.object == "response"
    items = client.responses.create(model="responses_agent", input=[{"role": "user", "content": "hi"}])
    assert items.output_text == "agent: hi custom=None"


@offered("openai", "responses.create(stream=True)")
def test_c70_openai_responses_stream(client: Any, stack: Stack) -> None:
    events = list(client.responses.create(model="responses_agent", input="one two", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert deltas == ["one", "two"]
    assert events[-1].type == "response.output_item.done"
    body = {"model": "responses_agent", "input": "one", "stream": True}
    raw = stack.call("POST", f"{QUERY}/responses", body).text
    assert raw.startswith("event: response.output_text.delta\ndata: {")
    assert raw.endswith("data: [DONE]\n\n")


def test_c70_extra_fields_of_the_platform_are_taken(client: Any) -> None:
    extra = {"usage_context": {"team": "a"}, "client_request_id": "cr-1"}
    answer = client.chat.completions.create(model="streamer", messages=MESSAGES, extra_body=extra)
    assert "cr-1" not in answer.choices[0].message.content


@offered("openai", "models.list")
@offered("openai", "models.retrieve")
def test_openai_models(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert {"chat_model", "embedder"} <= set(names)
    assert client.models.retrieve("chat_model").id == "chat_model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


def test_models_are_those_that_the_caller_may_ask(stack: Stack) -> None:
    stranger = penstock("tokens", "create", "--user", "eve", home=stack.home).stdout.strip()
    with openai.OpenAI(base_url=f"{stack.url}{QUERY}", api_key=stranger, max_retries=0) as client:
        assert list(client.models.list()) == []
        with pytest.raises(openai.PermissionDeniedError, match="CAN_QUERY"):
            client.chat.completions.create(model="chat_model", messages=MESSAGES)


def test_c71_an_unknown_model_is_not_found_and_the_message_says_so(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="Endpoint with name 'nope' does not exist"):
        client.chat.completions.create(model="nope", messages=MESSAGES)


def test_a_failure_in_a_stream_is_raised_by_the_client(client: Any) -> None:
    messages: Any = [{"role": "user", "content": "fail:1 one two"}]
    chunks = client.chat.completions.create(model="chat_model", messages=messages, stream=True)
    assert next(chunks).choices[0].delta.content == "one"
    with pytest.raises(openai.APIError, match="lost its voice"):
        list(chunks)


@offered("openai", "AsyncOpenAI: chat.completions.create, whole and as a stream")
def test_openai_async(stack: Stack) -> None:
    async def talk() -> tuple[str, list[str]]:
        base = f"{stack.url}{QUERY}"
        async with openai.AsyncOpenAI(base_url=base, api_key=stack.token, max_retries=0) as client:
            whole = await client.chat.completions.create(model="chat_model", messages=MESSAGES)
            stream = await client.chat.completions.create(model="chat_model", messages=MESSAGES, stream=True)
            return whole.choices[0].message.content, [chunk.choices[0].delta.content async for chunk in stream]

    assert asyncio.run(talk()) == ("one two", ["one", "two"])


@offered("databricks-sdk", "serving_endpoints.get_open_ai_client")
def test_c72_the_sdks_own_openai_client(stack: Stack) -> None:
    with pytest.warns(DeprecationWarning, match="databricks-openai"):
        client = stack.workspace().serving_endpoints.get_open_ai_client()
    answer = client.chat.completions.create(model="chat_model", messages=MESSAGES)
    assert answer.choices[0].message.content == "one two"


def databricks_openai_clients() -> ModuleType:
    """The module of `databricks-openai` that holds its clients, unmodified, and nothing else of that package.

    The package's own `__init__` imports others whose licence binds them to Databricks' services.
    """
    try:
        file = distribution("databricks-openai").locate_file("databricks_openai/utils/clients.py")
    except PackageNotFoundError:
        pytest.skip("databricks-openai is not installed")
    spec = importlib.util.spec_from_file_location("databricks_openai_clients", str(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@offered("databricks-openai", "DatabricksOpenAI: chat.completions.create, whole and as a stream")
@offered("databricks-openai", "DatabricksOpenAI: responses.create")
def test_c73_databricks_openai(stack: Stack) -> None:
    client = databricks_openai_clients().DatabricksOpenAI(workspace_client=stack.workspace())
    answer = client.chat.completions.create(model="chat_model", messages=MESSAGES)
    assert answer.choices[0].message.content == "one two"
    chunks = client.chat.completions.create(model="chat_model", messages=MESSAGES, stream=True)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["one", "two"]
    assert client.responses.create(model="responses_agent", input="hi").output_text == "agent: hi custom=None"


@offered("langchain-openai", "ChatOpenAI: invoke, stream")
@offered("langchain-openai", "OpenAIEmbeddings: embed_documents")
def test_langchain(stack: Stack) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="LangChain's OpenAI client is not installed")
    address = {"base_url": f"{stack.url}{QUERY}", "api_key": stack.token}
    chat = langchain.ChatOpenAI(model="chat_model", **address)
    assert chat.invoke("one two").content == "one two"
    assert [chunk.content for chunk in chat.stream("one two") if chunk.content] == ["one", "two"]
    embeddings = langchain.OpenAIEmbeddings(model="embedder", check_embedding_ctx_length=False, **address)
    assert embeddings.embed_documents(["hello", "you"]) == close_to([[5.0, 2.0, 0.1], [3.0, 2.0, 0.1]])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"messages": MESSAGES}, "model"),
        ({"model": 7, "messages": MESSAGES}, "model"),
        ({"model": None}, "model"),
        ([], "model"),
        ("text", "model"),
    ],
)
@pytest.mark.parametrize("route", ["chat/completions", "completions", "embeddings", "responses"])
def test_a_body_without_a_model_is_refused(stack: Stack, route: str, body: object, told: str) -> None:
    refused(stack.call("POST", f"{QUERY}/{route}", body), 400, "BAD_REQUEST", told)


def test_what_is_no_json_is_refused(stack: Stack) -> None:
    for data in (b"", b"{", b"\xff", b"[" * 10_000, b'{"model": "chat_model", "messages": [NaN'):
        answer = stack.call("POST", f"{QUERY}/chat/completions", data=data)
        refused(answer, 400, "BAD_REQUEST")


def test_routes_take_their_own_methods(stack: Stack) -> None:
    for method, route, allowed in (("GET", "chat/completions", "POST"), ("POST", "models", "GET")):
        answer = stack.call(method, f"{QUERY}/{route}", {})
        refused(answer, 405, "ENDPOINT_NOT_FOUND", allowed)
        assert answer.headers["allow"] == allowed


def test_a_classic_model_asked_to_chat_is_a_clear_mistake(stack: Stack, live: str, client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="schema"):
        client.chat.completions.create(model=live, messages=MESSAGES)
