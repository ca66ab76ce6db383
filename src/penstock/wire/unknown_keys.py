"""Keys that no field of a body has. The API ignores them; whoever writes a file wants to hear of them."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

_NEAR_MISS = 0.8
"""How much two words must have in common (`difflib`) for one to be taken for a misspelling of the other."""


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """A key that no field has."""

    path: str
    model: str
    """The model that has no such field."""
    suggestion: str | None
    """The field that was probably meant."""


def unknown_keys(model: type[BaseModel], document: object) -> list[UnknownKey]:
    """Every key of a document that the model has no field for, wherever it stands."""
    schema = model.model_json_schema()
    return list(_unknown(schema, schema.get("$defs", {}), document, ""))


def _unknown(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], value: object, path: str
) -> Iterator[UnknownKey]:
    shapes = [_resolved(shape, definitions) for shape in schema.get("anyOf", [schema])]
    if isinstance(value, dict):
        shape = next((shape for shape in shapes if "properties" in shape), None)
        if shape is None:
            return
        known: Mapping[str, Any] = shape["properties"]
        for key, inner in value.items():
            at = f"{path}.{key}" if path else str(key)
            if key in known:
                yield from _unknown(known[key], definitions, inner, at)
            else:
                match = difflib.get_close_matches(str(key), known, 1, _NEAR_MISS)
                yield UnknownKey(at, shape["title"], match[0] if match else None)
    elif isinstance(value, list):
        items: Mapping[str, Any] = next((shape["items"] for shape in shapes if "items" in shape), {})
        for index, inner in enumerate(value):
            yield from _unknown(items, definitions, inner, f"{path}[{index}]")


def _resolved(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = shape.get("$ref")
    return shape if reference is None else definitions[reference.rsplit("/", 1)[-1]]
