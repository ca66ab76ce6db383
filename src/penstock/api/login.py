"""`/login` and `/logout`: a browser shows a token, or a one-time code, and gets a session in a cookie.

The only routes that ask for no principal. They are pages for people and stand in no OpenAPI document.
"""

from collections.abc import Awaitable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Header, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from penstock.api.bodies import read_body
from penstock.api.context import Context, Credential
from penstock.api.login_page import PAGE_HEADERS, logged_in_page, login_page
from penstock.domain.access import digest_of
from penstock.domain.errors import PermissionDenied, Unauthenticated
from penstock.domain.sessions import SESSION_LIFETIME_MS, cookie_name, may_log_in_from
from penstock.wire.errors import headers_of, status_of

_LANDING = "/mlflow/"
_SEE_OTHER = 303
_MAX_FORM_BYTES = 16 << 10

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show_login(context: Context, request: Request, credential: Credential, code: str | None = None) -> Response:
    """The form; or, with a code, the log-in itself."""
    if code is not None:
        return await _log_in(context, request, context.sessions.begin_by_code(code))
    session = context.sessions.of_credential(credential)
    return HTMLResponse(login_page() if session is None else logged_in_page(session.principal), headers=PAGE_HEADERS)


@router.post("/login")
async def log_in(
    context: Context, request: Request, sec_fetch_site: Annotated[str | None, Header()] = None
) -> Response:
    """Take the token from the form."""
    if not may_log_in_from(sec_fetch_site):
        raise PermissionDenied("A page of somebody else may not log a browser in; open /login itself.")
    form = parse_qs((await read_body(request, _MAX_FORM_BYTES)).decode("utf-8", "replace"))
    token = form.get("token", [""])[-1].strip()
    return await _log_in(context, request, context.sessions.begin_by_token(token))


@router.post("/logout")
async def log_out(context: Context, credential: Credential) -> Response:
    """End the session. The gateway has seen to it that a page of ours asks for it."""
    if credential:
        await context.sessions.end(credential)
    return _see_other("/login", _cookie("", 0, is_secure=context.is_secure))


async def _log_in(context: Context, request: Request, beginning: Awaitable[str]) -> Response:
    try:
        session_id = await beginning
    except Unauthenticated as error:
        headers = {**PAGE_HEADERS, **headers_of(error)}
        return HTMLResponse(login_page(error.message), status_of(error), headers=headers)
    session = context.sessions.of_credential(digest_of(session_id))
    request.state.principal = None if session is None else session.principal  # for the audit log
    return _see_other(_LANDING, _cookie(session_id, SESSION_LIFETIME_MS // 1000, is_secure=context.is_secure))


def _see_other(location: str, cookie: str) -> Response:
    return RedirectResponse(location, _SEE_OTHER, headers={"set-cookie": cookie, "cache-control": "no-store"})


def _cookie(value: str, max_age_s: int, *, is_secure: bool) -> str:
    attributes = f"HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age_s}{'; Secure' if is_secure else ''}"
    return f"{cookie_name(is_secure=is_secure)}={value}; {attributes}"
