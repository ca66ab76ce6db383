"""What is read of a body in the style of language models, and what the model gets of it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import Api, Note, Query
from penstock.flavors.llm import RESPONSES_TASK, Reading, note_usage, read

CLASSIC = ModelTraits()
STREAMING = ModelTraits(is_streamable=True)
AGENT = ModelTraits(RESPONSES_TASK, is_streamable=True)
MESSAGES = [{"role": "user", "content": "hi"}]
ROUTES = [Api.CHAT, Api.COMPLETIONS, Api.EMBEDDINGS, Api.RESPONSES]
PLATFORM = {
    "client_request_id": "id-7",
    "usage_context": {"team": "blue"},
    "databricks_options": {"return_trace": True},
}


def reading(
    body: Any, api: Api = Api.INVOCATIONS, traits: ModelTraits = CLASSIC, columns: frozenset[str] = frozenset()
) -> Reading:
    """What is read of a body, given as a document or as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(Query(data, api=api, request_id="r", endpoint="e"), traits, columns)


def given_to_model(body: Any, *args: Any, **options: Any) -> Any:
    """The document that the model gets; it must have been read as a language model's."""
    llm = reading(body, *args, **options).llm
    assert llm is not None
    return json.loads(llm.body)


@pytest.mark.parametrize("key", ["messages", "prompt", "input"])
def test_the_platforms_fields_are_read_and_not_for_the_model(key: str) -> None:
    body = {key: "hi", "temperature": 0.5, **PLATFORM}
    found = reading(body)
    assert found.note == Note("id-7", {"team": "blue"})
    assert found.llm is not None
    assert found.llm.wants_trace
    assert json.loads(found.llm.body) == {key: "hi", "temperature": 0.5}


@pytest.mark.parametrize("name", [*PLATFORM, "stream"])
def test_a_field_of_the_platform_may_be_null(name: str) -> None:
    found = reading({"messages": MESSAGES, name: None})
    assert found.note == Note()
    assert found.llm is not None
    assert (found.llm.is_stream, found.llm.wants_trace) == (False, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("client_request_id", 7),
        ("client_request_id", ["a"]),
        ("usage_context", "blue"),
        ("usage_context", {"team": 7}),
        ("usage_context", [1]),
        ("databricks_options", True),
        ("databricks_options", {"return_trace": "yes"}),
    ],
)
@pytest.mark.parametrize("form", [{"messages": MESSAGES}, {"inputs": [1]}])
def test_a_field_of_the_platform_with_a_wrong_value_is_named(name: str, value: Any, form: Any) -> None:
    with pytest.raises(BadRequest, match=f"^{name}: wanted "):
        reading({**form, name: value})


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [1, 2]},
        {"instances": [{"a": 1}], "params": {"t": 1}},
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
        {"dataframe_records": [{"messages": 1}]},
        {},
    ],
)
@pytest.mark.parametrize("traits", [CLASSIC, STREAMING])
def test_the_classic_formats_are_left_to_mlflow_and_noted(body: Any, traits: ModelTraits) -> None:
    assert reading({**body, "client_request_id": "id-7"}, traits=traits) == Reading(Note("id-7"), None)


@pytest.mark.parametrize(
    ("value", "traits", "streams"),
    [
        (True, STREAMING, True),
        (True, CLASSIC, False),
        (False, STREAMING, False),
        (None, STREAMING, False),
        ("true", STREAMING, False),
        (1, STREAMING, False),
        ([True], STREAMING, False),
    ],
)
def test_a_classic_body_asks_for_a_stream_only_of_a_model_that_can(
    value: Any, traits: ModelTraits, streams: bool
) -> None:
    llm = reading({"inputs": [1], "stream": value}, traits=traits).llm
    assert (llm is not None and llm.is_stream) is streams


@pytest.mark.parametrize(("traits", "kept"), [(STREAMING, True), (CLASSIC, False)])
def test_a_model_that_cannot_stream_does_not_hear_of_it(traits: ModelTraits, kept: bool) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    found = reading({"messages": MESSAGES, **asked}, traits=traits)
    assert found.llm is not None
    assert found.llm.is_stream, "its whole answer is sent as a stream"
    assert json.loads(found.llm.body) == {"messages": MESSAGES} | (asked if kept else {})


@pytest.mark.parametrize("api", ROUTES)
@pytest.mark.parametrize("body", [{"model": "e", "messages": MESSAGES}, {"model": "e"}, {"model": "e", "inputs": [1]}])
def test_on_openais_routes_every_body_is_a_language_models_and_loses_its_model(api: Api, body: Any) -> None:
    assert given_to_model(body, api) == {key: value for key, value in body.items() if key != "model"}


def test_on_the_plain_route_the_model_stays() -> None:
    assert given_to_model({"model": "e", "messages": MESSAGES}) == {"model": "e", "messages": MESSAGES}


@pytest.mark.parametrize(
    ("api", "columns", "left"),
    [
        (Api.EMBEDDINGS, (), {"input"}),
        (Api.EMBEDDINGS, ("model",), {"input", "model"}),
        (Api.EMBEDDINGS, ("encoding_format", "input"), {"input", "encoding_format"}),
        (Api.CHAT, (), {"input", "encoding_format"}),
        (Api.CHAT, ("model",), {"input", "encoding_format", "model"}),
    ],
)
def test_openais_fields_stay_if_the_signature_knows_them(api: Api, columns: tuple[str, ...], left: set[str]) -> None:
    body = {"model": "e", "encoding_format": "float", "input": ["hi"]}
    assert set(given_to_model(body, api, columns=frozenset(columns))) == left


def test_the_encoding_that_was_asked_for_is_that_of_the_answer() -> None:
    llm = reading({"model": "e", "input": "hi", "encoding_format": "base64"}, Api.EMBEDDINGS).llm
    assert llm is not None
    assert isinstance(llm.shape.whole([[1.0]])["data"][0]["embedding"], str)


@pytest.mark.parametrize(
    ("traits", "api", "expect"),
    [
        (AGENT, Api.RESPONSES, MESSAGES),
        (AGENT, Api.INVOCATIONS, "hi"),
        (CLASSIC, Api.RESPONSES, "hi"),
    ],
)
def test_a_responses_agent_gets_text_as_a_message_on_openais_route(traits: ModelTraits, api: Api, expect: Any) -> None:
    assert given_to_model({"model": "e", "input": "hi"}, api, traits)["input"] == expect


def test_a_responses_agent_gets_items_as_they_are() -> None:
    assert given_to_model({"model": "e", "input": MESSAGES}, Api.RESPONSES, AGENT)["input"] == MESSAGES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'[{"messages": []}]',
        b'"messages"',
        b'{"messages": []} {}',
        b'{"messages": [,]}',
        b'{"messages": NaN}',
        b'{"messages": "\xff"}',
        b"\xff\xfe{\0}\0",
        b'{"messages": ' + b"[" * 100_000,
        b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"messages": ' + b"7" * 5_000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("api", [Api.INVOCATIONS, Api.CHAT])
def test_what_cannot_be_read_is_left_to_mlflow_which_says_why(body: bytes, api: Api) -> None:
    assert reading(body, api) == Reading(Note(), None)


def test_the_last_of_two_fields_of_one_name_counts_for_the_platform_and_for_the_model() -> None:
    body = b'{"messages": [], "stream": true, "client_request_id": "a", "n": 1'
    body += b', "client_request_id": "b", "n": 2, "stream": false}'
    found = reading(body, traits=STREAMING)
    assert found.llm is not None
    assert (found.note.client_request_id, found.llm.is_stream) == ("b", False)
    assert json.loads(found.llm.body) == {"messages": [], "stream": False, "n": 2}


def test_a_large_integer_reaches_the_model_as_it_is() -> None:
    assert given_to_model({"messages": [], "seed": 2**80}) == {"messages": [], "seed": 2**80}


NAMES = st.sampled_from(
    [*PLATFORM, "messages", "prompt", "input", "inputs", "stream", "stream_options", "model", "encoding_format", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
APIS, TRAITS = st.sampled_from(list(Api)), st.sampled_from([CLASSIC, STREAMING, AGENT])


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(NAMES, VALUES, max_size=6), APIS, TRAITS)
def test_the_model_gets_the_rest_unchanged_or_the_body_is_refused(body: Any, api: Api, traits: ModelTraits) -> None:
    try:
        found = reading(body, api, traits)
    except BadRequest:
        return
    if found.llm is None:
        assert api is Api.INVOCATIONS
        return
    got = json.loads(found.llm.body)
    assert got.keys().isdisjoint(PLATFORM)
    ours = {*PLATFORM, "stream", "stream_options", "model", "encoding_format", "input"}
    for name in body.keys() - ours:
        assert got[name] == body[name]
    assert got.keys() <= body.keys()


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=40), APIS, TRAITS)
def test_no_bytes_break_the_reading(body: bytes, api: Api, traits: ModelTraits) -> None:
    found = reading(body, api, traits).llm
    assert found is None or isinstance(json.loads(found.body), dict)


# Token counts.


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}, (3, 4)),
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4)),
        ({"usage": {"prompt_tokens": 3}}, (3, 1)),
        ({"type": "response.completed", "response": {"usage": {"input_tokens": 3, "output_tokens": 4}}}, (3, 4)),
        ({"usage": {"prompt_tokens": "3", "completion_tokens": None}}, (1, 1)),
        ({"usage": None}, (1, 1)),
        ({"usage": [3, 4]}, (1, 1)),
        ({"response": "text"}, (1, 1)),
        ([{"usage": {"prompt_tokens": 3}}], (1, 1)),
        ("text", (1, 1)),
        (None, (1, 1)),
    ],
)
def test_tokens_are_noted_in_either_spelling_and_what_is_known_stays(answer: Any, counts: tuple[int, int]) -> None:
    note = Note(input_tokens=1, output_tokens=1)
    note_usage(note, answer)
    assert (note.input_tokens, note.output_tokens) == counts
