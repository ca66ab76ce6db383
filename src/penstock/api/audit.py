"""Has every management call told to the audit log, just before its answer leaves."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.control.audit import Audit, Shown
from penstock.control.clock import now_ms
from penstock.domain.audit import AuditEvent
from penstock.wire.audited_calls import UNTOLD, action_of, params_of
from penstock.wire.messages import CLIENT_ADDRESS_HEADER, CREDENTIAL_HEADER, PRINCIPAL_HEADER

_MAX_AGENT_LENGTH = 200
_SHOW_LOGIN = "show_login"
_CRASHED = 500
_MAX_FIELDS = 100


class Audited:
    """An application whose calls are told. Requests that reach no route are not: nothing was done or read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; when it is answered, tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        audit: Audit = scope["app"].state.parts.audit
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        shown = audit.shown(headers.get(CREDENTIAL_HEADER, ""))  # looked up first: the call may end it

        def tell(status: int) -> None:
            if _is_told(scope):
                audit.record(_event(scope, headers, shown, status))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                tell(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception:
            tell(_CRASHED)  # what is answered then is answered further out
            raise


def _is_told(scope: Scope) -> bool:
    operation = _operation(scope)
    is_a_look = operation == _SHOW_LOGIN and not scope.get("query_string")
    return operation is not None and operation not in UNTOLD and not is_a_look


def _operation(scope: Scope) -> str | None:
    """The name of the function that answers; None if there is none, or none of ours."""
    endpoint = scope.get("endpoint")
    name: str | None = getattr(endpoint, "__name__", None)
    return name if getattr(endpoint, "__module__", "").startswith("penstock.") else None


def _event(scope: Scope, headers: Mapping[str, str], shown: Shown, status: int) -> AuditEvent:
    operation = _operation(scope) or ""
    service, action = action_of(operation, scope["path"])
    state: dict[str, Any] = scope.get("state") or {}
    return AuditEvent(
        now_ms(),
        service,
        action,
        headers.get(PRINCIPAL_HEADER) or state.get("principal") or shown.principal,
        params_of(scope.get("path_params") or {}, _query(scope), body=state.get("body")),
        status,
        state.get("error_code"),
        headers.get(CLIENT_ADDRESS_HEADER, ""),
        headers.get("user-agent", "")[:_MAX_AGENT_LENGTH],
        shown.session_id,
        acting_resource=shown.acting_resource,
    )


def _query(scope: Scope) -> dict[str, str]:
    fields = scope.get("query_string", b"").decode("latin-1").split("&", _MAX_FIELDS)
    found = parse_qs("&".join(fields[:_MAX_FIELDS]))
    return {name: values[-1] for name, values in found.items()}
