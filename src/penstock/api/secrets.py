"""`/api/2.0/secrets`: scopes and secrets, as Databricks has them. No route answers with a value."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.domain.errors import NotSupported
from penstock.wire.secrets import (
    CreateScope,
    DeleteScope,
    DeleteSecret,
    PutSecret,
    decode_is_shared,
    decode_value,
    encode_entries,
    encode_scopes,
)

router = APIRouter(prefix="/api/2.0/secrets", tags=["secrets"])


@router.post("/scopes/create", openapi_extra=documented(CreateScope))
async def create_scope(
    context: Context, caller: Caller, body: Annotated[CreateScope, Depends(body_of_type(CreateScope))]
) -> dict[str, Any]:
    """Create a scope."""
    context.secrets.create_scope(body.scope, caller, is_shared=decode_is_shared(body))
    return {}


@router.get("/scopes/list")
async def list_scopes(context: Context, caller: Caller) -> dict[str, Any]:
    """List the scopes that the caller may manage."""
    return encode_scopes(context.secrets.scopes(caller))


@router.post("/scopes/delete", openapi_extra=documented(DeleteScope))
async def delete_scope(
    context: Context, caller: Caller, body: Annotated[DeleteScope, Depends(body_of_type(DeleteScope))]
) -> dict[str, Any]:
    """Delete a scope and its secrets."""
    context.secrets.delete_scope(body.scope, caller)
    return {}


@router.post("/put", openapi_extra=documented(PutSecret))
async def put_secret(
    context: Context, caller: Caller, body: Annotated[PutSecret, Depends(body_of_type(PutSecret))]
) -> dict[str, Any]:
    """Store a secret, in place of the one that there may be."""
    field, value = decode_value(body)
    context.secrets.put(body.scope, body.key, value, field, caller)
    return {}


@router.get("/list")
async def list_secrets(context: Context, caller: Caller, scope: Annotated[str, Query()]) -> dict[str, Any]:
    """List the secrets of a scope, without their values."""
    return encode_entries(context.secrets.entries(scope, caller))


@router.post("/delete", openapi_extra=documented(DeleteSecret))
async def delete_secret(
    context: Context, caller: Caller, body: Annotated[DeleteSecret, Depends(body_of_type(DeleteSecret))]
) -> dict[str, Any]:
    """Delete a secret."""
    context.secrets.delete(body.scope, body.key, caller)
    return {}


@router.get("/get")
async def get_secret() -> None:
    """The value of a secret: not to be had."""
    raise NotSupported(
        "The value of a secret is never returned here. Refer to it as {{secrets/<scope>/<key>}} in environment_vars: "
        "only the served entity sees it."
    )


@router.post("/acls/put")
@router.get("/acls/list")
@router.get("/acls/get")
@router.post("/acls/delete")
async def access_control_lists() -> None:
    """Access control lists of scopes: not to be had yet."""
    raise NotSupported(
        "Secret scopes have no access control lists here: a scope is its creator's, or everybody's if it was created "
        "with initial_manage_principal 'users'."
    )
