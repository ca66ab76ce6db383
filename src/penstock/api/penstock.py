"""`/api/2.0/penstock`: routes beside the contract, for our own command line and for operators."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import StrictStr

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context, Credential
from penstock.client.supervisor import SupervisorUnreachable
from penstock.domain.access import Token
from penstock.domain.errors import TemporarilyUnavailable
from penstock.wire.body import In

router = APIRouter(prefix="/api/2.0/penstock", tags=["penstock"])


class CreateToken(In):
    """Body of a token's creation."""

    user: StrictStr
    comment: StrictStr = ""


class SetGroups(In):
    """Body of a change of groups."""

    groups: list[StrictStr]


@router.get("/ps")
async def list_processes(context: Context) -> dict[str, Any]:
    """All processes of the stack."""
    try:
        snapshot = await context.supervisor.snapshot()
    except SupervisorUnreachable as exc:
        raise TemporarilyUnavailable(f"The supervisor does not answer: {exc}.") from exc
    return {"processes": msgspec.to_builtins(snapshot.processes)}


@router.get("/models")
async def list_models(context: Context) -> dict[str, Any]:
    """All registered models, as the registry tells them."""
    return {"registered_models": await context.registry.models()}


@router.get("/tokens")
async def list_tokens(context: Context, caller: Caller) -> dict[str, Any]:
    """The caller's tokens, for an admin everybody's; without their secrets."""
    is_admin = context.permissions.is_admin(caller)
    return {"tokens": [_encode(t) for t in context.tokens.all() if is_admin or t.principal == caller]}


@router.post("/tokens", openapi_extra=documented(CreateToken))
async def create_token(
    context: Context, caller: Caller, body: Annotated[CreateToken, Depends(body_of_type(CreateToken))]
) -> dict[str, Any]:
    """Create a token for a principal. The answer is the only place where its secret ever stands."""
    if body.user != caller:
        context.permissions.require_admin(caller, "create tokens for others")
    token, secret = await context.tokens.create(body.user, body.comment)
    return {**_encode(token), "token": secret}


@router.delete("/tokens/{token_id}")
async def revoke_token(context: Context, caller: Caller, token_id: str) -> dict[str, Any]:
    """Revoke a token: one's own, or as an admin anybody's."""
    if token_id not in [token.id for token in context.tokens.all() if token.principal == caller]:
        context.permissions.require_admin(caller, "revoke tokens of others")
    await context.tokens.revoke(token_id)
    return {}


@router.post("/secrets/rotate")
async def rotate_secrets(context: Context, caller: Caller) -> dict[str, Any]:
    """Encrypt all secrets with a new key and drop the old one."""
    context.permissions.require_admin(caller, "rotate the keys of secrets")
    return {"values": context.secrets.rotate()}


@router.post("/login-codes")
async def create_login_code(context: Context, caller: Caller, credential: Credential) -> dict[str, Any]:
    """A code for `/login?code=…`: it logs a browser in as the caller, once. It stands nowhere but in this answer."""
    code, secret = context.sessions.make_code(caller, credential)
    return {"code": secret, "expires_at_ms": code.expires_at_ms}


@router.get("/principals")
async def list_principals(context: Context) -> dict[str, Any]:
    """All principals with their groups."""
    return {"principals": [{"name": p.name, "groups": p.groups} for p in context.permissions.principals()]}


@router.put("/principals/{name}", openapi_extra=documented(SetGroups))
async def set_groups(
    context: Context, caller: Caller, name: str, body: Annotated[SetGroups, Depends(body_of_type(SetGroups))]
) -> dict[str, Any]:
    """Put a principal into these groups and no others."""
    principal = await context.permissions.set_groups(name, tuple(body.groups), caller)
    return {"name": principal.name, "groups": principal.groups}


def _encode(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.principal,
        "comment": token.comment,
        "created_at_ms": token.created_at_ms,
    }
