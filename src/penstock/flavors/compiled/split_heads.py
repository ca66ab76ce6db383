"""What stands before the data in `dataframe_split` bodies: most clients send the same bytes there again and again.

Such a body is read as `head + data + "}}"`. JSON is built so that what the whole says follows from what the head says
with any value in its place: a head is learned once, with null for the data, and from then on the data alone is parsed.
"""

from typing import Any

import msgspec

from penstock.flavors.compiled.formats import are_rows

_DATA = b'"data":'
_END = b"}}"
_MAX_HEADS = 8
_MAX_HEAD_BYTES = 64 << 10

_decode = msgspec.json.Decoder().decode


class SplitHeads:
    """Heads that name just these columns, in this order."""

    def __init__(self, names: list[str]) -> None:
        self._wanted = {"dataframe_split": {"columns": names, "data": None}}
        self._width = len(names)
        self._heads: tuple[bytes, ...] = ()

    def rows(self, body: bytes) -> list[Any] | None:
        """The data of a body with a known head: lists of as many values as there are columns, else None."""
        for head in self._heads:
            if body.startswith(head) and body.endswith(_END):
                break
        else:
            return None
        try:
            data = _decode(memoryview(body)[len(head) : -len(_END)])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return data if are_rows(data, self._width) else None

    def learn(self, body: bytes) -> None:
        """Remember the head of a body, if it is one of these."""
        end = body.find(_DATA) + len(_DATA)
        head = body[:end]
        if len(self._heads) >= _MAX_HEADS or not len(_DATA) <= end <= _MAX_HEAD_BYTES or head in self._heads:
            return
        try:
            document = _decode(head + b"null" + _END)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return
        if document == self._wanted and list(document["dataframe_split"]) == ["columns", "data"]:
            self._heads = (*self._heads, head)
