"""What models answer, completed to the shapes of the OpenAI routes."""

import base64
import contextlib
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from penstock.domain.errors import BadRequest
from penstock.domain.prediction import Api
from penstock.wire.openai import Shape, encode_models, model_of, with_both_finish_reasons

SHAPED = [Api.CHAT, Api.COMPLETIONS, Api.EMBEDDINGS, Api.RESPONSES]
KINDS = {
    Api.CHAT: ChatCompletion,
    Api.COMPLETIONS: Completion,
    Api.EMBEDDINGS: CreateEmbeddingResponse,
    Api.RESPONSES: Response,
}
"""What OpenAI's client makes of a whole answer."""
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from(["choices", "messages", "data", "delta", "object", "id", "output", "embedding", "type", "usage"])
DOCUMENTS = (
    JUNK | st.dictionaries(KEYS, JUNK, max_size=5) | st.lists(st.dictionaries(KEYS, JUNK, max_size=3), max_size=2)
)


def whole(api: Api, answer: Any, encoding: str | None = None) -> Any:
    """An answer in the shape of a route."""
    return Shape(api, "my-endpoint", "r-1", encoding).whole(answer)


def without_head(document: Any) -> Any:
    """A document without the fields that every answer has."""
    head = ("id", "object", "created", "created_at", "model")
    return {key: value for key, value in document.items() if key not in head}


MESSAGE = {"role": "assistant", "content": "hi"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
TEXT_CHOICE = {"index": 0, "text": "hi", "finish_reason": "stop"}
OUTPUT = {
    "type": "message",
    "id": "msg-resp-r-1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hi", "annotations": []}],
}


@pytest.mark.parametrize(
    ("api", "answer", "shaped"),
    [
        (
            Api.CHAT,
            {"choices": [CHOICE], "usage": USAGE},
            {"choices": [CHOICE], "usage": USAGE},
        ),
        (Api.CHAT, "hi", {"choices": [CHOICE]}),
        (Api.CHAT, ["hi"], {"choices": [CHOICE]}),
        (
            Api.CHAT,
            {"messages": [{"role": "tool", "content": "7"}, MESSAGE], "custom_outputs": {"a": 1}},
            {
                "messages": [{"role": "tool", "content": "7"}, MESSAGE],
                "custom_outputs": {"a": 1},
                "choices": [CHOICE],
            },
        ),
        (
            Api.CHAT,
            {"messages": [MESSAGE], "finish_reason": "length"},
            {"messages": [MESSAGE], "finish_reason": "length", "choices": [{**CHOICE, "finish_reason": "length"}]},
        ),
        (Api.CHAT, [{"object": "chat.completion", "choices": [CHOICE]}], {"choices": [CHOICE]}),
        (Api.COMPLETIONS, "hi", {"choices": [TEXT_CHOICE]}),
        (Api.COMPLETIONS, ["hi"], {"choices": [TEXT_CHOICE]}),
        (Api.COMPLETIONS, ["hi", "ho"], {"choices": [TEXT_CHOICE, {**TEXT_CHOICE, "index": 1, "text": "ho"}]}),
        (Api.COMPLETIONS, {"choices": [TEXT_CHOICE], "x": 1}, {"choices": [TEXT_CHOICE], "x": 1}),
        (Api.COMPLETIONS, [{"object": "text_completion", "choices": [TEXT_CHOICE]}], {"choices": [TEXT_CHOICE]}),
        (Api.EMBEDDINGS, [1, 2.5], {"data": [{"object": "embedding", "index": 0, "embedding": [1, 2.5]}]}),
        (
            Api.EMBEDDINGS,
            [[1.0], [2.0]],
            {"data": [{"object": "embedding", "index": i, "embedding": [i + 1.0]} for i in range(2)]},
        ),
        (Api.EMBEDDINGS, {"data": [], "usage": USAGE}, {"data": [], "usage": USAGE}),
        (Api.RESPONSES, "hi", {"status": "completed", "output": [OUTPUT]}),
        (Api.RESPONSES, ["hi"], {"status": "completed", "output": [OUTPUT]}),
        (Api.RESPONSES, {"output": [OUTPUT], "x": 1}, {"status": "completed", "output": [OUTPUT], "x": 1}),
        (Api.RESPONSES, {"status": "incomplete", "output": []}, {"status": "incomplete", "output": []}),
    ],
)
def test_a_whole_answer_is_completed_to_its_route(api: Api, answer: Any, shaped: Any) -> None:
    document = whole(api, answer)
    assert without_head(document) == shaped
    assert document["model"] == "my-endpoint"


@pytest.mark.parametrize(
    ("api", "answer"),
    [
        (Api.CHAT, "hi"),
        (Api.CHAT, {"messages": [MESSAGE]}),
        (Api.COMPLETIONS, ["hi", "ho"]),
        (Api.EMBEDDINGS, [[1.0, 2.0]]),
        (Api.RESPONSES, "hi"),
    ],
)
def test_openais_client_reads_what_was_completed(api: Api, answer: Any) -> None:
    read = KINDS[api].construct(**whole(api, answer))  # as the client itself does
    assert read.model == "my-endpoint"
    match read:
        case ChatCompletion():
            assert (read.object, read.id, read.choices[0].message.content) == ("chat.completion", "chatcmpl-r-1", "hi")
        case Completion():
            assert (read.object, read.id) == ("text_completion", "cmpl-r-1")
            assert [choice.text for choice in read.choices] == ["hi", "ho"]
        case CreateEmbeddingResponse():
            assert (read.object, read.data[0].embedding) == ("list", [1.0, 2.0])
        case Response():
            assert (read.object, read.id) == ("response", "resp-r-1")
            assert read.output_text == "hi"


@pytest.mark.parametrize("api", [Api.CHAT, Api.COMPLETIONS, Api.RESPONSES])
def test_what_the_model_says_of_itself_stays_and_what_it_leaves_empty_is_filled_in(api: Api) -> None:
    given = {"choices": [CHOICE], "output": [OUTPUT], "id": "mine", "model": "gpt-x", "object": None}
    shaped = whole(api, given)
    assert (shaped["id"], shaped["model"]) == ("mine", "gpt-x")
    assert shaped["object"] == whole(api, {"choices": [CHOICE]})["object"]
    blank = whole(api, {"choices": [CHOICE], "id": "", "model": None})
    assert (blank["id"].endswith("-r-1"), blank["model"]) == (True, "my-endpoint")


@pytest.mark.parametrize("api", SHAPED)
@pytest.mark.parametrize("junk", [None, 7, 1.5, True, [], [[]], [None, 1], [{"a": 1}, {"a": 2}], [{"no": "object"}]])
def test_what_fits_no_shape_is_passed_through(api: Api, junk: Any) -> None:
    assert whole(api, junk) == junk
    assert Shape(api, "e", "r").chunk(junk) == junk


@pytest.mark.parametrize(
    "junk", ["text", ["a", "b", 1], [1, True], [[1.0], []], [[1.0], ["x"]], {"data": "none"}, {"data": None}, []]
)
def test_what_is_no_vector_is_passed_through(junk: Any) -> None:
    assert whole(Api.EMBEDDINGS, junk) == junk


@settings(deadline=None, derandomize=True)
@given(DOCUMENTS)
def test_the_plain_route_changes_nothing(answer: Any) -> None:
    shape = Shape(Api.INVOCATIONS, "e", "r")
    one = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    assert shape.whole(answer) in (answer, one)
    assert shape.chunk(answer) == answer


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(SHAPED), DOCUMENTS, st.sampled_from([None, "float", "base64"]))
def test_no_answer_breaks_a_shape_and_nothing_that_the_model_gave_is_dropped(
    api: Api, answer: Any, encoding: str | None
) -> None:
    shape = Shape(api, "e", "r", encoding)
    shaped, piece, stream = shape.whole(answer), shape.chunk(answer), list(shape.as_stream(answer))
    for document in (shaped, piece, *stream):
        json.dumps(document)
        shape.event_name(document)
    with_both_finish_reasons(shaped)
    for document in (shaped, piece):
        if isinstance(answer, dict):
            kept = {key: value for key, value in answer.items() if value and key != "data"}
            assert {key: document[key] for key in kept} == kept


# Streams.


@pytest.mark.parametrize(
    ("api", "piece", "shaped"),
    [
        (
            Api.CHAT,
            "hi",
            {"choices": [{"index": 0, "delta": MESSAGE, "finish_reason": None}]},
        ),
        (
            Api.CHAT,
            {"delta": MESSAGE, "finish_reason": "stop"},
            {
                "delta": MESSAGE,
                "finish_reason": "stop",
                "choices": [{"index": 0, "delta": MESSAGE, "finish_reason": "stop"}],
            },
        ),
        (Api.CHAT, {"choices": [{"index": 0, "delta": {}}]}, {"choices": [{"index": 0, "delta": {}}]}),
        (Api.COMPLETIONS, "hi", {"choices": [TEXT_CHOICE]}),
    ],
)
def test_a_piece_is_completed_to_its_route(api: Api, piece: Any, shaped: Any) -> None:
    document = Shape(api, "my-endpoint", "r-1").chunk(piece)
    assert without_head(document) == shaped
    assert (document["id"].endswith("-r-1"), document["model"]) == (True, "my-endpoint")


def test_all_pieces_of_a_stream_say_that_they_are_of_one_answer() -> None:
    shape = Shape(Api.CHAT, "e", "r-1")
    chunks = [ChatCompletionChunk.model_validate(shape.chunk(piece)) for piece in ("a", "b", "c")]
    assert len({(chunk.id, chunk.created, chunk.object, chunk.model) for chunk in chunks}) == 1
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "abc"


def test_a_piece_of_text_is_a_named_event_of_the_responses_route() -> None:
    shape = Shape(Api.RESPONSES, "e", "r-1")
    piece = shape.chunk("hi")
    assert piece == {"type": "response.output_text.delta", "item_id": "resp-r-1", "delta": "hi"}
    assert shape.event_name(piece) == "response.output_text.delta"
    own = {"type": "response.output_item.done", "item": OUTPUT}
    assert shape.chunk(own) == own


@pytest.mark.parametrize("api", [Api.INVOCATIONS, Api.CHAT, Api.COMPLETIONS, Api.EMBEDDINGS])
def test_events_of_other_routes_have_no_names(api: Api) -> None:
    assert Shape(api, "e", "r").event_name({"type": "message"}) is None


def test_a_whole_chat_answer_is_streamed_as_one_delta() -> None:
    (piece,) = Shape(Api.CHAT, "e", "r").as_stream({"choices": [CHOICE], "usage": USAGE})
    assert piece["object"] == "chat.completion.chunk"
    assert piece["choices"] == [{"index": 0, "delta": MESSAGE, "finish_reason": "stop"}]
    assert piece["usage"] == USAGE
    assert ChatCompletionChunk.model_validate(piece).choices[0].delta.content == "hi"


def test_a_whole_response_is_streamed_as_its_items_and_its_completion() -> None:
    items = [OUTPUT, {**OUTPUT, "id": "second"}]
    shape = Shape(Api.RESPONSES, "e", "r")
    first, second, last = shape.as_stream({"output": items})
    assert [piece["item"] for piece in (first, second)] == items
    assert [piece["output_index"] for piece in (first, second)] == [0, 1]
    assert (last["type"], last["response"]["output"]) == ("response.completed", items)
    assert [shape.event_name(piece) for piece in (first, last)] == ["response.output_item.done", "response.completed"]


@pytest.mark.parametrize("api", [Api.INVOCATIONS, Api.COMPLETIONS, Api.EMBEDDINGS])
def test_other_whole_answers_are_streamed_as_they_are(api: Api) -> None:
    shape = Shape(api, "e", "r")
    assert list(shape.as_stream(["hi"])) == [shape.whole(["hi"])]


# Embeddings as base64.


def packed(vector: list[float]) -> Any:
    """What becomes of a vector of which base64 was asked."""
    (entry,) = whole(Api.EMBEDDINGS, [vector], "base64")["data"]
    return entry["embedding"]


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_a_packed_vector_unpacks_to_the_same_numbers(vector: list[float]) -> None:
    data = base64.b64decode(packed(vector), validate=True)
    assert list(struct.unpack(f"<{len(vector)}f", data)) == vector


@pytest.mark.parametrize(
    "number", [1e39, -1e39, 10**60, 10**400], ids=["float", "negative", "integer", "integer over any float"]
)
def test_a_vector_with_a_number_that_no_float32_holds_comes_in_full(number: float) -> None:
    assert packed([1.0, number]) == [1.0, number]


def test_infinity_is_packed_as_what_it_is() -> None:
    assert struct.unpack("<f", base64.b64decode(packed([math.inf]))) == (math.inf,)


@pytest.mark.parametrize(
    "entry", [None, 7, {}, {"embedding": "done already"}, {"embedding": []}, {"embedding": ["a"]}, {"embedding": None}]
)
def test_an_entry_that_holds_no_vector_is_left_as_it_is(entry: Any) -> None:
    assert whole(Api.EMBEDDINGS, {"data": [entry, {"embedding": [1.0]}]}, "base64")["data"] == [
        entry,
        {"embedding": base64.b64encode(struct.pack("<f", 1.0)).decode()},
    ]


@pytest.mark.parametrize("encoding", [None, "float", "BASE64", 7, ["base64"]])
def test_vectors_are_packed_only_if_base64_is_asked_for(encoding: Any) -> None:
    assert whole(Api.EMBEDDINGS, [[1.0]], encoding)["data"][0]["embedding"] == [1.0]


# The rest.


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ([{"finish_reason": "stop"}], [{"finish_reason": "stop", "finishReason": "stop"}]),
        ([{"text": "a"}, 7], [{"text": "a"}, 7]),
        ("none", "none"),
    ],
)
def test_finish_reasons_come_in_both_spellings(given: Any, expect: Any) -> None:
    assert with_both_finish_reasons({"choices": given, "x": 1}) == {"choices": expect, "x": 1}


def test_the_endpoint_is_read_from_the_body() -> None:
    assert model_of(b'{"messages": [], "model": "my-endpoint", "model_": 1}') == "my-endpoint"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "model: wanted the name of an endpoint"),
        (b'{"model": 7}', "model: wanted the name of an endpoint"),
        (b'{"model": null}', "model: wanted the name of an endpoint"),
        (b"[]", "model: wanted the name of an endpoint"),
        (b'"model"', "model: wanted the name of an endpoint"),
        (b"", "not a valid JSON"),
        (b"{", "not a valid JSON"),
        (b'{"model": "a"} more', "not a valid JSON"),
        (b'{"model": "\xff"}', "not a valid JSON"),
        (b'{"a": ' + b"[" * 100_000, "not a valid JSON"),
    ],
)
def test_a_body_without_an_endpoint_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        model_of(body)


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_whatever_the_body_it_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert isinstance(model_of(body), str)


def test_endpoints_are_listed_as_models() -> None:
    listed = encode_models(["a", "b"])
    assert listed["object"] == "list"
    assert [(entry["id"], entry["object"]) for entry in listed["data"]] == [("a", "model"), ("b", "model")]
