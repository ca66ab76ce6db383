"""Heads of `dataframe_split` bodies that are learned: what follows them is read as in the whole body, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.flavors.compiled.split_heads import SplitHeads

NAMES = ["a", "b"]
BODY = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5]]}}'
HEAD = BODY[: BODY.index(b"[[")]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def taught(body: bytes = BODY) -> SplitHeads:
    heads = SplitHeads(NAMES)
    assert heads.rows(body) is None
    heads.learn(body)
    return heads


def test_p4_1_the_data_behind_a_learned_head_is_read_alone() -> None:
    assert taught().rows(BODY) == [[1, 2.5]]
    assert taught().rows(HEAD + b" [ [1, 2],\n[3, null] ]}}") == [[1, 2], [3, None]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2, 3]]}}',
        b'{"dataframe_split": {"data": [[1, 2]], "columns": ["a", "b"]}}',
        b'{"dataframe_split": {"index": [0], "columns": ["a", "b"], "data": [[1, 2]]}}',
        b'{"dataframe_split": {"columns": ["a", "b"], "columns": ["a", "c"], "data": [[1, 2]]}}',
        b'{"client_request_id": "x", "dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}',
        b'{"instances": {"columns": ["a", "b"], "data": [[1, 2]]}}',
        b'{"dataframe_records": [{"a": 1, "b": 2}]}',
        b'"data":',
        b"",
    ],
)
def test_p4_1_another_head_is_not_learned(body: bytes) -> None:
    assert taught(body).rows(body) is None


@pytest.mark.parametrize(
    "rest",
    [
        b"[[1, 2]]}} ",
        b'[[1, 2]], "index": [0]}}',
        b'[[1, 2]]}, "client_request_id": {"a": 1}}',
        b"[[1, 2]]}, {}}",
        b"[[1, 2], [3]]}}",
        b"[[1, 2], {}]}}",
        b"[[NaN, 2]]}}",
        b"[]}}",
        b"null}}",
        b"}}",
        b"",
    ],
)
def test_p4_1_what_is_not_just_data_is_left_to_the_parser(rest: bytes) -> None:
    assert taught().rows(HEAD + rest) is None


@given(ANYTHING, st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_p4_1_whatever_the_data_is_it_is_what_the_whole_body_says(
    data: Any, separators: tuple[str, str] | None
) -> None:
    body = HEAD + json.dumps(data, separators=separators).encode() + b"}}"
    rows = taught().rows(body)
    assert rows is None or rows == json.loads(body)["dataframe_split"]["data"]
    if type(data) is list and data and all(type(row) is list and len(row) == len(NAMES) for row in data):
        assert rows == data
