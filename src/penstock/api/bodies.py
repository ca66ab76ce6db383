"""Request bodies: read with a limit, decoded strictly, refused with the field's name.

The content type is not asked for: tutorials send JSON under whatever type their tool puts there.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from penstock.domain.errors import InvalidParameterValue, PayloadTooLarge
from penstock.wire.body import describe

MAX_BODY_BYTES = 4 << 20

_M = TypeVar("_M", bound=BaseModel)


def body_of_type(model: type[_M]) -> Callable[[Request], Awaitable[_M]]:
    """A dependency that decodes the request's body.

    It raises InvalidParameterValue naming the field, what came and what was wanted, and PayloadTooLarge.
    """

    async def decode(request: Request) -> _M:
        data = await read_body(request, MAX_BODY_BYTES)
        try:
            body = model.model_validate_json(data)
        except ValidationError as exc:
            hides_input = model.model_config.get("hide_input_in_errors", False)
            raise InvalidParameterValue(describe(exc, hides_input=hides_input)) from exc
        request.state.body = body  # for the audit log
        return body

    return decode


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The request's whole body.

    Raises:
        PayloadTooLarge: it is over the limit.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit_bytes:
            raise PayloadTooLarge(f"The request body is over the limit of {limit_bytes} bytes.")
    return bytes(data)


_REF_TEMPLATE = "#/components/schemas/{model}"
_documented: list[type[BaseModel]] = []


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry of a body that `body_of_type` decodes."""
    _documented.append(model)
    schema = {"$ref": _REF_TEMPLATE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def body_schemas() -> dict[str, Any]:
    """The schemas that the entries of `documented` refer to, by name."""
    _, document = models_json_schema([(model, "validation") for model in _documented], ref_template=_REF_TEMPLATE)
    schemas: dict[str, Any] = document.get("$defs", {})
    return schemas
