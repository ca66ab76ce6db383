"""What may not be logged is taken out of bodies, wherever it stands; what cannot be read is not logged."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.gateway.redaction import REDACTED, redacted, redacted_answer

CANARY = "canary"
leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5)
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "ssn", "b"]), inner, max_size=3),
    max_leaves=12,
)


def planted(value: Any, is_hidden: bool = False) -> Any:
    """The document with a canary in place of every value below the key that is hidden."""
    if isinstance(value, dict):
        return {key: planted(inner, is_hidden or key == "ssn") for key, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner, is_hidden) for inner in value]
    return CANARY if is_hidden else value


@given(documents)
def test_p5_3_no_value_below_a_declared_name_is_left_and_nothing_else_is_touched(document: Any) -> None:
    told = redacted(json.dumps(planted(document)).encode(), {"ssn"})
    assert told is not None
    assert CANARY.encode() not in told
    assert redacted(json.dumps(document).encode(), set()) == redacted(told, set()) or b"ssn" in told


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"inputs": {"ssn": ["1", "2"], "x": [1, 2]}}, {"inputs": {"ssn": [REDACTED] * 2, "x": [1, 2]}}),
        (
            {"dataframe_split": {"columns": ["x", "ssn"], "data": [[1, "1"], [2, "2", "beyond"]]}},
            {"dataframe_split": {"columns": ["x", "ssn"], "data": [[1, REDACTED], [2, REDACTED, REDACTED]]}},
        ),
        ({"dataframe_split": {"data": [["1"]]}}, {"dataframe_split": REDACTED}),
        (
            {"dataframe_split": {"columns": ["ssn"], "data": ["1"]}},
            {"dataframe_split": {"columns": ["ssn"], "data": [REDACTED]}},
        ),
    ],
)
def test_p5_3_columns_are_found_in_each_format(body: Any, left: Any) -> None:
    told = redacted(json.dumps(body).encode(), {"ssn"})
    assert told is not None
    assert json.loads(told) == left


@pytest.mark.parametrize("body", [b"", b"{", b"x,ssn\n1,2\n", b"\xff", b"PAR1", b"[" * 5000])
def test_p5_3_what_cannot_be_read_is_not_logged(body: bytes) -> None:
    assert redacted(body, {"ssn"}) is None
    assert redacted_answer(body, 200, {"ssn"}) == b""


def test_p5_3_of_errors_only_the_code_is_left() -> None:
    body = b'{"error_code":"BAD_REQUEST","message":"could not convert \'123-45\'"}'
    assert json.loads(redacted_answer(body, 400, {"ssn"})) == {"error_code": "BAD_REQUEST", "message": REDACTED}
    assert json.loads(redacted_answer(b'{"predictions":[{"ssn":"1","y":2}]}', 200, {"ssn"})) == {
        "predictions": [{"ssn": REDACTED, "y": 2}]
    }
