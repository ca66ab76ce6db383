import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.sql.calls import Asked, calls, shown, values
from penstock.sql.limits import BATCH_BYTES

MODEL = Asked(None, ())
CHAT = Asked("llm/v1/chat", ())


@given(st.lists(st.none() | st.integers() | st.fixed_dictionaries({"x": st.integers()})), st.integers(1, 7))
def test_p6_6_every_row_with_a_request_is_asked_once_in_batches_that_keep_to_the_bound(
    requests: list[object], batch_rows: int
) -> None:
    made = calls(MODEL, requests, {}, batch_rows)
    assert sorted(row for call in made for row in call.rows) == [i for i, r in enumerate(requests) if r is not None]
    assert all(1 <= len(call.rows) <= batch_rows for call in made)
    assert [call.rows[0] for call in made] == sorted(call.rows[0] for call in made)


def test_p6_6_large_rows_do_not_share_a_body_beyond_its_bound() -> None:
    long = "x" * (BATCH_BYTES // 2)
    made = calls(MODEL, [{"s": long}, {"s": "short"}, {"s": long}, {"s": long}], {}, 100)
    assert [call.rows for call in made] == [(0, 1), (2,), (3,)]


@pytest.mark.parametrize(
    ("asked", "request_", "body"),
    [
        (MODEL, {"x": 1, "s": None}, {"dataframe_split": {"columns": ["x", "s"], "data": [[1, None]]}}),
        (MODEL, 3.5, {"inputs": [3.5]}),
        (Asked(None, ("x",)), 3.5, {"dataframe_split": {"columns": ["x"], "data": [[3.5]]}}),
        (MODEL, '{"inputs": [1, 2]}', {"inputs": [1, 2]}),
        (MODEL, "{not json", {"inputs": ["{not json"]}),
        (CHAT, "hello", {"messages": [{"role": "user", "content": "hello"}]}),
        (CHAT, {"messages": [{"role": "system", "content": "x"}]}, {"messages": [{"role": "system", "content": "x"}]}),
        (Asked("llm/v1/completions", ()), "once", {"prompt": "once"}),
        (Asked("llm/v1/embeddings", ()), "word", {"input": ["word"]}),
        (Asked("agent/v1/responses", ()), "hi", {"input": [{"role": "user", "content": "hi"}]}),
    ],
)
def test_p6_6_what_a_request_becomes(asked: Asked, request_: object, body: object) -> None:
    (call,) = calls(asked, [request_], {}, 10)
    assert json.loads(call.body()) == body


def test_p6_6_params_go_where_the_route_has_them() -> None:
    (table,) = calls(MODEL, [{"x": 1}], {"temp": 0.5}, 10)
    assert json.loads(table.body())["params"] == {"temp": 0.5}
    (chat,) = calls(CHAT, ["hello"], {"max_tokens": 3}, 10)
    assert json.loads(chat.body())["max_tokens"] == 3


def test_p6_6_values_that_json_has_no_words_for() -> None:
    row = {"t": datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "d": date(2026, 1, 2), "n": Decimal("1.5"), "b": b"\x00\xff"}
    (call,) = calls(MODEL, [row], {}, 10)
    assert json.loads(call.body())["dataframe_split"]["data"] == [
        ["2026-01-02T03:04:00+00:00", "2026-01-02", 1.5, "AP8="]
    ]


@pytest.mark.parametrize(
    ("asked", "request_", "fragment"),
    [
        (Asked(None, ("x", "n")), 5, "wanted a struct of the model's inputs, x, n"),
        (CHAT, 5, "wanted a text"),
    ],
)
def test_p6_6_a_request_that_cannot_be_names_its_row(asked: Asked, request_: object, fragment: str) -> None:
    with pytest.raises(BadRequest, match=fragment) as caught:
        calls(asked, [None, request_], {}, 10)
    assert str(caught.value).startswith("row 2: ")


@pytest.mark.parametrize(
    ("asked", "requests", "document", "found"),
    [
        (MODEL, [1, 2], {"predictions": [10, 20]}, [10, 20]),
        (MODEL, [1, 2], {"predictions": {"a": [1, 2], "b": [3, 4]}}, [{"a": 1, "b": 3}, {"a": 2, "b": 4}]),
        (MODEL, [1, 2], {"predictions": [10]}, None),
        (MODEL, [1], {"predictions": 7}, [{"predictions": 7}]),
        (MODEL, [1], ["its", "own"], [["its", "own"]]),
        (MODEL, ['{"inputs": [1]}'], {"predictions": [1]}, [{"predictions": [1]}]),
        (CHAT, ["x"], {"choices": [{"message": {"content": "y"}}]}, ["y"]),
        (CHAT, ["x"], {"messages": [{"content": "z"}]}, ["z"]),
        (CHAT, ["x"], {"odd": 1}, [{"odd": 1}]),
        (Asked("llm/v1/completions", ()), ["x"], {"choices": [{"text": "y"}]}, ["y"]),
        (Asked("llm/v1/embeddings", ()), ["x", "y"], {"data": [{"embedding": [1]}, {"embedding": [2]}]}, [[1], [2]]),
        (
            Asked("agent/v1/responses", ()),
            ["x"],
            {"output": [{"type": "reasoning"}, {"content": [{"text": "a"}, {"text": "b"}]}]},
            ["ab"],
        ),
    ],
)
def test_p6_6_what_an_answer_gives_each_row(
    asked: Asked, requests: list[object], document: object, found: object
) -> None:
    (call,) = calls(asked, requests, {}, 10)
    assert values(call, document) == found


def test_p6_6_rows_in_messages_are_short() -> None:
    assert shown({"x": 1}) == '{"x":1}'
    assert len(shown("x" * 9999)) == 200
