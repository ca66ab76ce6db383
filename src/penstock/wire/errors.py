"""Errors on the wire: HTTP status, JSON body, headers. The only place where a status number is chosen.

The body's form, the codes and which status goes with which code are Databricks' public REST conventions; the
`mlflow.deployments` client rebuilds the status from `error_code` alone, so only codes that it knows are sent.
Routes of Unity Catalog, which it does not call, have codes of their own.
"""

import json
import re
from typing import Any

from penstock.domain import errors

STATUS: dict[type[errors.PenstockError], int] = {
    errors.InvalidParameterValue: 400,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.RequestTooSlow: 408,
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.ResourceDoesNotExist: 404,
    errors.MethodNotAllowed: 405,
    errors.RouteNotFound: 404,
    errors.ResourceAlreadyExists: 409,
    errors.ResourceConflict: 409,
    errors.CallerError: 400,
    errors.NotSupported: 501,
    errors.ResourceExhausted: 429,
    errors.TemporarilyUnavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.InternalError: 500,
    errors.PenstockError: 500,
}

KNOWN_CODES = frozenset(
    (
        *("INTERNAL_ERROR", "INVALID_STATE", "DATA_LOSS", "NOT_IMPLEMENTED", "TEMPORARILY_UNAVAILABLE"),
        *("DEADLINE_EXCEEDED", "REQUEST_LIMIT_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"),
        *("RESOURCE_CONFLICT", "ALREADY_EXISTS", "NOT_FOUND", "ENDPOINT_NOT_FOUND", "RESOURCE_DOES_NOT_EXIST"),
        *("PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED", "BAD_REQUEST"),
        *("RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE"),
    )
)
"""The codes that `mlflow.deployments` can turn back into a status; any other becomes a 500 there, and is retried."""

UNITY_CATALOG_CODES = frozenset(("CATALOG_DOES_NOT_EXIST", "SCHEMA_DOES_NOT_EXIST", "TABLE_DOES_NOT_EXIST"))
"""What clients of Unity Catalog are told beside those."""

# Written with a character class each, so that the phrases themselves stand nowhere in our sources: the official
# SDK sends a request again, for five minutes, when an error message holds one of them.
_RETRY_TRIGGERS = re.compile(
    r"[U]nexpected error|[P]lease try again later or try a faster operation\."
    r"|[R]PC token bucket limit has been exceeded|[C]lusterNotReadyException"
    r"|[U]nknown worker environment|[d]oes not have any associated worker environments"
    r"|[T]here is no worker environment with id|[U]nknownWorkerEnvironmentException"
)


def status_of(error: errors.PenstockError) -> int:
    """The HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def body_of(error: errors.PenstockError) -> bytes:
    """The JSON body of an error, UTF-8."""
    return error_body(error.error_code, error.message)


def error_body(error_code: str, message: str, **extra: Any) -> bytes:
    """A JSON error body from its parts, UTF-8, with a message that triggers no client's retry by accident."""
    document = {"error_code": error_code, "message": defused(message), **extra}
    return json.dumps(document).encode()


def defused(message: str) -> str:
    """The message with its words joined by underscores wherever a phrase would make the SDK send again."""
    return _RETRY_TRIGGERS.sub(lambda match: re.sub("(?<=[a-z])(?=[A-Z])| ", "_", match.group()), message)


def headers_of(error: errors.PenstockError) -> dict[str, str]:
    """Headers that go with an error beside the content type."""
    if isinstance(error, errors.Unauthenticated):
        return {"www-authenticate": "Bearer"}
    if error.retry_after_s is not None:
        return {"retry-after": str(error.retry_after_s)}
    return {}
