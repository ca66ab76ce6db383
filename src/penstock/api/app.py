"""The control plane's web application: routes, and every error in the contract's form."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from penstock import __version__
from penstock.api import (
    endpoint_settings,
    feedback,
    history,
    job_runs,
    jobs,
    login,
    penstock,
    permissions,
    secrets,
    serving_endpoints,
    stack_metrics,
    tables,
    unity_catalog,
    workspace,
)
from penstock.api.audit import Audited
from penstock.api.bodies import body_schemas
from penstock.api.context import Parts, caller_of
from penstock.domain.errors import (
    InternalError,
    InvalidParameterValue,
    MethodNotAllowed,
    PenstockError,
    RouteNotFound,
)
from penstock.wire.errors import body_of, headers_of, status_of

FOR_ANYBODY = (login.router,)
"""Routes that ask for no principal."""
FOR_PRINCIPALS = (
    workspace,
    serving_endpoints,
    endpoint_settings,
    feedback,
    history,
    jobs,
    job_runs,
    permissions,
    secrets,
    penstock,
    stack_metrics,
    tables,
    unity_catalog,
)
"""Parts all of whose routes do."""
_METHOD_NOT_ALLOWED = 405

_log = logging.getLogger(__name__)


def make_app(lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    """The application; `lifespan` is to set `app.state.parts`."""
    app = FastAPI(
        title="Penstock",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/2.0/penstock/openapi.json",
    )
    for router in FOR_ANYBODY:
        app.include_router(router)
    for part in FOR_PRINCIPALS:
        app.include_router(part.router, dependencies=[Depends(caller_of)])
    app.add_middleware(Audited)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document.setdefault("components", {}).setdefault("schemas", {}).update(body_schemas())
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_exception_handler(PenstockError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_crash)
    return app


def set_parts(app: FastAPI, parts: Parts) -> None:
    """Give the routes what they work with."""
    app.state.parts = parts


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PenstockError)  # noqa: S101 - registered for this class
    request.state.error_code = error.error_code  # for the audit log
    return Response(body_of(error), status_of(error), headers_of(error), "application/json")


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return await _on_error(request, InvalidParameterValue(f"{field}: got {first['input']!r}; {first['msg']}."))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    what = f"{request.method} {request.url.path}"
    if error.status_code == _METHOD_NOT_ALLOWED:
        return await _on_error(request, MethodNotAllowed(f"{what}: the route does not take this method."))
    return await _on_error(request, RouteNotFound(f"There is no route {what}."))


async def _on_crash(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await _on_error(request, InternalError("The control plane failed on this request; its log tells why."))
