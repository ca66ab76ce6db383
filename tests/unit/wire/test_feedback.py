"""What is told as feedback: every mistake is named with its entry and field, and what is right makes a row."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.feedback import MAX_ITEMS, MAX_TEXT_LENGTH
from penstock.inference_tables.feedback import FEEDBACK
from penstock.wire.body import describe
from penstock.wire.feedback import AddFeedback, decode_feedback
from penstock.wire.feedback_row import encode_row

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
GOOD = {"databricks_request_id": ID, "label": 1}


def refusal(*items: Any) -> str:
    """Why these are refused."""
    body = msgspec.json.encode({"endpoint": "e", "feedback": items})
    try:
        decode_feedback(AddFeedback.model_validate_json(body))
    except ValidationError as exc:
        return describe(exc)
    except InvalidParameterValue as exc:
        return str(exc)
    raise AssertionError("it was taken")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"databricks_request_id": None}, "feedback[1]"),
        ({"client_request_id": "mine"}, "feedback[1]"),
        ({"databricks_request_id": "nope"}, "feedback[1].databricks_request_id"),
        ({"databricks_request_id": ID.replace("-", "")}, "feedback[1].databricks_request_id"),
        ({"feedback_id": "1"}, "feedback[1].feedback_id"),
        ({"label": None}, "feedback[1]"),
        ({"label": "x" * (MAX_TEXT_LENGTH + 1)}, "feedback[1].label"),
        ({"label": ["x" * MAX_TEXT_LENGTH]}, "feedback[1].label"),
        ({"comment": "x" * (MAX_TEXT_LENGTH + 1)}, "feedback[1].comment"),
        ({"comment": 3}, "feedback[1].comment"),
        ({"row": -1}, "feedback[1].row"),
        ({"row": 2**31}, "feedback[1].row"),
        ({"row": 0.5}, "feedback[1].row"),
        ({"rating": "good"}, "feedback[1].rating"),
        ({"value": "1"}, "feedback[1].value"),
        ({"observed_at": "yesterday"}, "feedback[1].observed_at"),
        ({"observed_at": "2026-01-31T12:00:00"}, "feedback[1].observed_at"),
    ],
)
def test_p5_6_what_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    assert refusal(GOOD, {**GOOD, **changed}).startswith(f"{field}")


def test_p5_6_none_and_too_many_are_refused() -> None:
    assert "feedback" in refusal()
    assert "feedback" in refusal(*[GOOD] * (MAX_ITEMS + 1))
    assert refusal("x").startswith("feedback[0]")


LABELS = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, derandomize=True)
@given(LABELS, st.none() | st.integers(0, 2**31 - 1), st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_p5_6_what_is_told_is_what_the_table_holds(label: Any, row: int | None, value: float | None) -> None:
    body = {"endpoint": "e", "feedback": [{"client_request_id": "mine", "label": label, "row": row, "value": value}]}
    (item,) = decode_feedback(AddFeedback.model_validate_json(msgspec.json.encode(body)))
    encoded = encode_row(item, "e", "ann", 1_700_000_000_000_000)
    (found,) = FEEDBACK.columns([FEEDBACK.row(msgspec.json.decode(encoded))]).to_pylist()
    assert (found["client_request_id"], found["row_position"], found["value"]) == ("mine", row, value)
    assert found["label"] == label or msgspec.json.decode(found["label"]) == label
    assert (found["author"], found["endpoint_name"], found["databricks_request_id"]) == ("ann", "e", None)
    assert str(found["feedback_time"]) == "2023-11-14 22:13:20+00:00"
    assert str(found["feedback_date"]) == "2023-11-14"
