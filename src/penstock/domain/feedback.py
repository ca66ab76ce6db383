"""Feedback: what came of predictions, or what somebody thinks of them, told after the fact."""

from dataclasses import dataclass

MAX_ITEMS = 1000
"""So many can be told in one request."""
MAX_TEXT_LENGTH = 65_536
"""Of a label or a comment, in characters."""
MAX_ROW = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Feedback:
    """Something told of one prediction, or of all predictions of one request."""

    id: str
    """A UUID, of whoever tells it or of ours: what comes twice under one id is one."""
    request_id: str | None
    """The request's `databricks-request-id`; None if it is named by `client_request_id`."""
    client_request_id: str | None
    row: int | None = None
    """Position of the input row in the request, from 0; None for all of them."""
    label: str | None = None
    """What the prediction should have been; JSON unless it is a string."""
    rating: float | None = None
    value: float | None = None
    """What the prediction was worth."""
    comment: str | None = None
    reviewer: str | None = None
    """Whose judgement it is, if not that of whoever sends it."""
    observed_at_us: int | None = None
    """When the truth came to be known, microseconds since 1970, if that was not now."""
