"""The error tree. Each class knows its stable `error_code` and whether sending again can help.

    PenstockError
    ├── CallerError                      the request is at fault; sending it again changes nothing
    │   ├── InvalidParameterValue        a field of a management call, or a model parameter
    │   ├── BadRequest                   a body that cannot be scored
    │   │   ├── PayloadTooLarge
    │   │   ├── UnsupportedMediaType
    │   │   └── RequestTooSlow           its bytes did not come in time
    │   ├── Unauthenticated
    │   ├── PermissionDenied
    │   ├── ResourceDoesNotExist         an endpoint, served entity, model or token
    │   │   ├── CatalogDoesNotExist
    │   │   ├── SchemaDoesNotExist
    │   │   └── TableDoesNotExist
    │   ├── RouteNotFound                no such route
    │   │   └── MethodNotAllowed
    │   ├── ResourceAlreadyExists
    │   └── ResourceConflict             another update is running
    ├── NotSupported                     the contract has it, and we do not
    ├── ResourceExhausted                a bounded queue is full; try later
    ├── TemporarilyUnavailable           nothing can answer now; try later
    ├── DeadlineExceeded                 the model ran over its time limit
    └── InternalError                    our fault, or a replica that died with the request

The HTTP status of each is chosen in `penstock.wire.errors`, nowhere else.
"""

from typing import ClassVar


class PenstockError(Exception):
    """Any failure that a caller is told about; the message is written for the caller."""

    error_code: ClassVar[str] = "INTERNAL_ERROR"
    retry_after_s: ClassVar[int | None] = None
    """Seconds after which sending again can help; None where it cannot."""

    @property
    def message(self) -> str:
        """The text for the caller."""
        return str(self)


class CallerError(PenstockError):
    """The request is at fault."""

    error_code = "BAD_REQUEST"


class InvalidParameterValue(CallerError):
    """A field holds something that it may not hold."""

    error_code = "INVALID_PARAMETER_VALUE"


class BadRequest(CallerError):
    """A body that cannot be scored."""


class PayloadTooLarge(BadRequest):
    """The body is over the size limit."""


class UnsupportedMediaType(BadRequest):
    """The body's content type is none that the scorer reads, or it is packed in a way that we do not unpack."""


class RequestTooSlow(BadRequest):
    """The client began a request and did not go on with it."""


class Unauthenticated(CallerError):
    """No token came, or none that we know."""

    error_code = "UNAUTHENTICATED"


class PermissionDenied(CallerError):
    """The caller is known and may not do this."""

    error_code = "PERMISSION_DENIED"


class ResourceDoesNotExist(CallerError):
    """The named thing does not exist."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class CatalogDoesNotExist(ResourceDoesNotExist):
    """No table that the caller may see has this catalog in its name."""

    error_code = "CATALOG_DOES_NOT_EXIST"


class SchemaDoesNotExist(ResourceDoesNotExist):
    """The catalog has no such schema."""

    error_code = "SCHEMA_DOES_NOT_EXIST"


class TableDoesNotExist(ResourceDoesNotExist):
    """The schema has no such table."""

    error_code = "TABLE_DOES_NOT_EXIST"


class RouteNotFound(CallerError):
    """No route of ours has this path."""

    error_code = "ENDPOINT_NOT_FOUND"


class MethodNotAllowed(RouteNotFound):
    """The route exists, for other methods."""


class ResourceAlreadyExists(CallerError):
    """The name is taken."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class ResourceConflict(CallerError):
    """The resource is in the middle of another change."""

    error_code = "RESOURCE_CONFLICT"


class NotSupported(PenstockError):
    """The contract has this and we do not."""

    error_code = "NOT_IMPLEMENTED"


class ResourceExhausted(PenstockError):
    """A bounded queue or buffer is full."""

    error_code = "RESOURCE_EXHAUSTED"
    retry_after_s = 1


class TemporarilyUnavailable(PenstockError):
    """Nothing can answer at the moment."""

    error_code = "TEMPORARILY_UNAVAILABLE"
    retry_after_s = 1


class DeadlineExceeded(PenstockError):
    """The model ran over its time limit."""

    error_code = "DEADLINE_EXCEEDED"


class InternalError(PenstockError):
    """A fault on our side of the contract."""
