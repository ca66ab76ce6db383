"""Feedback on the wire: what is told."""

import json
import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue, StrictBool, StrictFloat, StrictInt, StrictStr, StringConstraints

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.feedback import MAX_ITEMS, MAX_ROW, MAX_TEXT_LENGTH, Feedback
from penstock.wire.body import In

_MAX_ID_LENGTH = 1024
_Text = Annotated[str, StringConstraints(strict=True, max_length=MAX_TEXT_LENGTH)]
_Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=_MAX_ID_LENGTH)]
_Number = Annotated[StrictFloat | StrictInt, Field(allow_inf_nan=False)]


class FeedbackInput(In):
    """One thing that is told."""

    feedback_id: StrictStr | None = None
    databricks_request_id: StrictStr | None = None
    client_request_id: _Id | None = None
    row: Annotated[StrictInt, Field(ge=0, le=MAX_ROW)] | None = None
    label: JsonValue = None
    rating: _Number | StrictBool | None = None
    value: _Number | None = None
    comment: _Text | None = None
    reviewer: _Id | None = None
    observed_at: StrictStr | None = None


class AddFeedback(In):
    """Body of a call that tells what came of predictions of one endpoint."""

    endpoint: Annotated[StrictStr, Field(min_length=1)]
    feedback: Annotated[list[FeedbackInput], Field(min_length=1, max_length=MAX_ITEMS)]


def decode_feedback(body: AddFeedback) -> list[Feedback]:
    """What is told; what came without an id gets one.

    Raises:
        InvalidParameterValue: naming the entry and its field.
    """
    return [_decoded(item, f"feedback[{index}]") for index, item in enumerate(body.feedback)]


def _decoded(item: FeedbackInput, at: str) -> Feedback:
    if (item.databricks_request_id is None) == (item.client_request_id is None):
        came = "neither" if item.client_request_id is None else "both"
        raise InvalidParameterValue(f"{at}: got {came} of databricks_request_id and client_request_id; wanted one.")
    label = _label(item.label, f"{at}.label")
    rating = None if item.rating is None else float(item.rating)
    if label is None and rating is None and item.value is None and item.comment is None:
        raise InvalidParameterValue(f"{at}: got none of label, rating, value and comment; wanted at least one.")
    request_id, feedback_id = item.databricks_request_id, item.feedback_id
    return Feedback(
        str(uuid.uuid4()) if feedback_id is None else _uuid(feedback_id, f"{at}.feedback_id"),
        None if request_id is None else _uuid(request_id, f"{at}.databricks_request_id"),
        item.client_request_id,
        item.row,
        label,
        rating,
        None if item.value is None else float(item.value),
        item.comment,
        item.reviewer,
        None if item.observed_at is None else _time_us(item.observed_at, f"{at}.observed_at"),
    )


def _label(label: JsonValue, at: str) -> str | None:
    """A string as it is, anything else as JSON."""
    if label is None:
        return None
    text = label if isinstance(label, str) else json.dumps(label, ensure_ascii=False)
    if len(text) > MAX_TEXT_LENGTH:
        raise InvalidParameterValue(f"{at}: got {len(text)} characters; wanted at most {MAX_TEXT_LENGTH}.")
    return text


def _uuid(text: str, at: str) -> str:
    try:
        found = str(uuid.UUID(text))
    except ValueError:
        found = ""
    if found != text.lower():
        raise InvalidParameterValue(
            f"{at}: got '{text[:80]}'; wanted a UUID, such as the header databricks-request-id."
        )
    return found


def _time_us(text: str, at: str) -> int:
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return int(time.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        pass
    raise InvalidParameterValue(
        f"{at}: got '{text[:80]}'; wanted a time in ISO 8601 with its offset, as 2026-01-31T12:00:00Z."
    )
