"""The body of a request, made of nothing but a model's signature: one row of plain values."""

import json
import math
from typing import Any

from penstock.domain.signature import Field, Signature

_VALUES: dict[str, Any] = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "float": 0.5,
    "double": 0.5,
    "string": "text",
    "binary": "AA==",
    "datetime": "2026-01-01T00:00:00",
    "any": 1,
}
_TENSOR_VALUES: dict[str, Any] = {"f": 0.5, "i": 1, "u": 1, "b": True}
MAX_TENSOR_VALUES = 1 << 20


class NoBody(Exception):
    """No request can be made of a signature; the message says why."""


def sample_body(signature: Signature) -> bytes:
    """A body that fits a signature; whether the model likes its values is another question.

    Raises:
        NoBody: the signature describes no input, or one that is too large.
    """
    if not signature.inputs:
        raise NoBody("It was logged without a signature, so no request can be made up for it.")
    named = all("name" in field for field in signature.inputs)
    if signature.has_tensors:
        inputs = {field["name"]: _value(field) for field in signature.inputs} if named else _value(signature.inputs[0])
        return _body("inputs", inputs)
    if named:
        return _body("dataframe_records", [{field["name"]: _value(field) for field in signature.inputs}])
    return _body("dataframe_split", {"data": [[_value(field) for field in signature.inputs]]})


def _body(form: str, value: Any) -> bytes:
    return json.dumps({form: value}).encode()


def _value(field: Field) -> Any:
    match kind := field.get("type", "any"):
        case "tensor":
            spec = field["tensor-spec"]
            return _tensor(_TENSOR_VALUES.get(str(spec["dtype"])[:1], "text"), [abs(size) for size in spec["shape"]])
        case "array":
            return [_value(field["items"])]
        case "object":
            return {name: _value(inner) for name, inner in field.get("properties", {}).items()}
        case "map":
            return {"key": _value(field["values"])}
        case _:
            return _VALUES.get(kind, _VALUES["any"])


def _tensor(value: Any, shape: list[int]) -> Any:
    """Nested lists; a size that is left open is 1."""
    if math.prod(shape) > MAX_TENSOR_VALUES:
        raise NoBody(f"Its signature asks for {math.prod(shape)} numbers, too many to make up.")
    for size in reversed(shape):
        value = [value] * size
    return value
