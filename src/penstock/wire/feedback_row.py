"""Feedback as a row of its table, in the JSON that the spool takes."""

from typing import Any

import msgspec

from penstock.domain.feedback import Feedback

_DAY_US = 86_400_000_000


def encode_row(feedback: Feedback, endpoint: str, author: str, now_us: int) -> bytes:
    """The row of the feedback table, as the spool takes it."""
    row: dict[str, Any] = {
        "feedback_id": feedback.id,
        "feedback_date": now_us // _DAY_US,
        "feedback_time": now_us,
        "databricks_request_id": feedback.request_id,
        "client_request_id": feedback.client_request_id,
        "row_position": feedback.row,
        "label": feedback.label,
        "rating": feedback.rating,
        "value": feedback.value,
        "comment": feedback.comment,
        "author": author,
        "reviewer": feedback.reviewer,
        "observed_time": feedback.observed_at_us,
        "endpoint_name": endpoint,
    }
    return msgspec.json.encode(row)
