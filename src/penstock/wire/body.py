"""What every request body has in common: how it is read, and how its errors are told."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

_MAX_SHOWN = 80
_MAY_BE_SECRET = frozenset({"environment_vars", "external_model"})


class In(BaseModel):
    """Unknown fields are ignored; a number is not taken for a string, nor a string for a number."""

    model_config = ConfigDict(extra="ignore", strict=True)

    def document(self) -> dict[str, Any]:
        """The fields that were given, as JSON."""
        return self.model_dump(mode="json", exclude_none=True)


def describe(error: ValidationError, *, hides_input: bool = False) -> str:
    """The first error: the field, what came and what was wanted."""
    first = error.errors(include_url=False)[0]
    field = ""
    for part in first["loc"]:
        if isinstance(part, int):
            field += f"[{part}]"
        elif part not in {"str", "int"}:  # the members of a union are no part of the body
            field += f".{part}" if field else str(part)
    if first["type"] == "json_invalid":
        return f"The body is not valid JSON: {first['ctx']['error']}."
    wanted = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "missing":
        return f"{field}: missing; it is required."
    if hides_input:
        return f"{field or 'The body'}: {wanted}; what came is not shown."
    return f"{field or 'The body'}: got {_shown(first)}; {wanted}."


def _shown(error: ErrorDetails) -> str:
    """What came, for the message: never the value of an environment variable or a key of an external model."""
    came = error["input"]
    if not _MAY_BE_SECRET.isdisjoint(error["loc"]):
        return f"a value of type {type(came).__name__}, which is not shown"
    if isinstance(came, dict | list) and came:
        return f"an object of {len(came)} field(s)" if isinstance(came, dict) else f"a list of {len(came)}"
    shown = repr(came)
    return shown if len(shown) <= _MAX_SHOWN else shown[:_MAX_SHOWN] + "…"
