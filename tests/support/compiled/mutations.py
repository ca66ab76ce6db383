"""What can be wrong with a body: in its document, or in its bytes."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from support.compiled.values import STRAY

Draw = Callable[[st.SearchStrategy[Any]], Any]

_FORMATS = ["dataframe_records", "dataframe_split", "instances", "inputs", "input", "data"]
_BESIDE = [
    *("params", "usage_context", "client_request_id", "databricks_options", "stream", "messages", "prompt", "x"),
    *("signature_name", "inputs", "instances", "dataframe_records", "dataframe_split"),
]
_PIECES = [
    b"",
    b" ",
    b",",
    b"]",
    b"}",
    b"[",
    b'"',
    b"\\",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"0",
    b"-",
    b"e5",
    b".",
    b":",
]


def mutated_document(draw: Draw, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one or two things changed."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(document))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(
            st.sampled_from(["replace", "replace", "replace", "delete", "repeat", "rename", "beside", "format"])
        ):
            case "replace":
                holder[key] = copy.deepcopy(draw(STRAY))  # the next change must not reach the strategy
            case "delete":
                del holder[key]
            case "repeat" if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["a", "b", "index", "data", "", "é", "\ud800"]))] = holder.pop(key)
            case "format":
                content = document.pop(next(iter(document), ""), None)
                document = {draw(st.sampled_from(_FORMATS)): content, **document}
            case _:
                document[draw(st.sampled_from(_BESIDE))] = copy.deepcopy(draw(st.one_of(st.just({}), st.none(), STRAY)))
        if not document:
            break
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def mutated_bytes(draw: Draw, data: bytes) -> bytes:
    """The body with some bytes changed, or in another encoding."""
    at = draw(st.integers(0, len(data)))
    match draw(st.sampled_from(["piece", "piece", "cut", "twice", "mark", "encoding", "after"])):
        case "piece":
            return data[:at] + draw(st.sampled_from(_PIECES)) + data[at + draw(st.integers(0, 2)) :]
        case "cut":
            return data[:at]
        case "twice":
            return data.replace(b'":', b'":1,"a":', 1) if draw(st.booleans()) else data.replace(b"{", b'{"a":5,', 2)
        case "mark":
            return b"\xef\xbb\xbf" + data
        case "encoding":
            text = data.decode("utf-8", "replace")
            return text.encode(draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "latin-1"])), "replace")
        case _:
            return data + draw(st.sampled_from([b" \r\n\t", b"\x00", b"x", b"\xef\xbb\xbf", b"\x0b"]))
