"""The outermost object of a body: which format, and what else stands beside it."""

from typing import Any

import msgspec

FORMATS = frozenset({"dataframe_records", "dataframe_split", "instances", "inputs"})

_CLIENT_REQUEST_ID = "client_request_id"
# Untyped. What msgspec does not read as MLflow's json.loads does, it refuses: NaN and Infinity, 1e400, lone
# surrogates, other encodings than UTF-8, a byte order mark. Typed decoding would skip, unread, what it does not know.
_decode = msgspec.json.Decoder().decode


class Envelope(msgspec.Struct, frozen=True):
    """A body in one of the four formats."""

    format: str
    content: Any
    client_request_id: str | None


def opened(body: bytes) -> Envelope | None:
    """Open a body; None if it is no JSON, has no format or two, or anything beside it but `client_request_id`."""
    try:
        document = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if type(document) is not dict:
        return None
    client_request_id = None
    if len(document) == 2 and _CLIENT_REQUEST_ID in document:  # noqa: PLR2004
        client_request_id = document.pop(_CLIENT_REQUEST_ID)
        if client_request_id is not None and type(client_request_id) is not str:
            return None
    if len(document) != 1:
        return None
    name, content = document.popitem()
    return Envelope(name, content, client_request_id) if name in FORMATS else None
