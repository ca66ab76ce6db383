"""Takes out of bodies what may not be logged: the values of declared columns, before anything is written to disk.

A value is taken out wherever an object has a key of that name, and in the columns of `dataframe_split`. A request that
cannot be read as JSON is not logged at all, for nobody knows what it holds.
"""

from collections.abc import Collection
from typing import Any

import msgspec

REDACTED = "[REDACTED]"
"""Stands for a value."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def redacted(body: bytes, columns: Collection[str]) -> bytes | None:
    """A JSON body without the values of these columns; None if it cannot be read."""
    try:
        return _encode(_without(_decode(body), columns))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def redacted_answer(body: bytes, status: int, columns: Collection[str]) -> bytes:
    """The same of an answer. Of errors only the code is left: their messages tell values of the input."""
    try:
        document = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    if status >= _FIRST_ERROR:
        code = document.get("error_code") if isinstance(document, dict) else None
        return _encode({"error_code": code, "message": REDACTED})
    return _encode(_without(document, columns))


_FIRST_ERROR = 400


def _without(value: Any, columns: Collection[str]) -> Any:
    if isinstance(value, list):
        return [_without(item, columns) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _hidden(inner)
        if key in columns
        else _split_without(inner, columns)
        if key == "dataframe_split"
        else _without(inner, columns)
        for key, inner in value.items()
    }


def _hidden(value: Any) -> Any:
    """A list of values keeps its length, so that one still sees how many rows there were."""
    return [REDACTED] * len(value) if isinstance(value, list) else REDACTED


def _split_without(split: Any, columns: Collection[str]) -> Any:
    names = split.get("columns") if isinstance(split, dict) else None
    rows = split.get("data") if isinstance(split, dict) else None
    if not isinstance(names, list) or not isinstance(rows, list):
        return REDACTED
    hidden = {index for index, name in enumerate(names) if name in columns}
    return {
        **split,
        "data": [
            [REDACTED if i in hidden or i >= len(names) else _without(v, columns) for i, v in enumerate(row)]
            if isinstance(row, list)
            else REDACTED
            for row in rows
        ],
    }
