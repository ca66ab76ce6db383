"""Jobs have the same routes under two versions of the API; the newer one stands in the OpenAPI document."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel

from penstock.api.bodies import documented

_VERSIONS = (("2.2", True), ("2.1", False))
MAX_ID = (1 << 63) - 1

Id = Annotated[int, Query(ge=0, le=MAX_ID)]
OptionalId = Annotated[int | None, Query(ge=0, le=MAX_ID)]
PageToken = Annotated[str | None, Query()]

_F = TypeVar("_F", bound=Callable[..., Any])


def both(
    router: APIRouter, method: str, path: str, body: type[BaseModel] | None = None, *, is_told: bool = True
) -> Callable[[_F], _F]:
    """Have a function answer at a path below `/jobs` of both versions.

    Args:
        router: where.
        method: of HTTP.
        path: below `/api/<version>/jobs`.
        body: what it decodes, for the OpenAPI document.
        is_told: whether it stands there.
    """

    def add(function: _F) -> _F:
        extra = None if body is None else documented(body)
        for version, is_newest in _VERSIONS:
            router.add_api_route(
                f"/api/{version}/jobs{path}",
                function,
                methods=[method],
                include_in_schema=is_newest and is_told,
                openapi_extra=extra,
            )
        return function

    return add
