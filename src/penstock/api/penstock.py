"""`/api/2.0/penstock`: routes beside the contract, for our own command line and for operators."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, StrictStr

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Context
from penstock.client.supervisor import SupervisorUnreachable
from penstock.domain.access import Token
from penstock.domain.errors import TemporarilyUnavailable

router = APIRouter(prefix="/api/2.0/penstock", tags=["penstock"])


class CreateToken(BaseModel):
    """Body of a token's creation."""

    model_config = ConfigDict(extra="ignore", strict=True)

    user: StrictStr
    comment: StrictStr = ""


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
async def list_tokens(context: Context) -> dict[str, Any]:
    """All tokens, without their secrets."""
    return {"tokens": [_encode(token) for token in context.tokens.all()]}


@router.post("/tokens", openapi_extra=documented(CreateToken))
async def create_token(
    context: Context, body: Annotated[CreateToken, Depends(body_of_type(CreateToken))]
) -> dict[str, Any]:
    """Create a token for a principal. The answer is the only place where its secret ever stands."""
    token, secret = await context.tokens.create(body.user, body.comment)
    return {**_encode(token), "token": secret}


@router.delete("/tokens/{token_id}")
async def revoke_token(context: Context, token_id: str) -> dict[str, Any]:
    """Revoke a token."""
    await context.tokens.revoke(token_id)
    return {}


def _encode(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "user": token.principal,
        "comment": token.comment,
        "created_at_ms": token.created_at_ms,
    }
