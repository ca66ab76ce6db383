"""`/api/2.0/permissions/serving-endpoints/{id}`: who may do what with an endpoint. The id is not its name."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.domain.access import Level
from penstock.wire.permissions import AccessControlList, decode_grants, encode_levels, encode_permissions

router = APIRouter(prefix="/api/2.0/permissions/serving-endpoints", tags=["permissions"])

Body = Annotated[AccessControlList, Depends(body_of_type(AccessControlList))]


@router.get("/{endpoint_id}")
async def get_permissions(context: Context, caller: Caller, endpoint_id: str) -> dict[str, Any]:
    """The grants on an endpoint."""
    endpoint = context.permissions.endpoint(endpoint_id)
    context.permissions.require(caller, endpoint, Level.CAN_VIEW)
    return encode_permissions(endpoint)


@router.put("/{endpoint_id}", openapi_extra=documented(AccessControlList))
async def set_permissions(context: Context, caller: Caller, endpoint_id: str, body: Body) -> dict[str, Any]:
    """Replace the grants on an endpoint."""
    return encode_permissions(await context.permissions.replace_grants(endpoint_id, decode_grants(body), caller))


@router.patch("/{endpoint_id}", openapi_extra=documented(AccessControlList))
async def update_permissions(context: Context, caller: Caller, endpoint_id: str, body: Body) -> dict[str, Any]:
    """Lay grants over those on an endpoint."""
    return encode_permissions(await context.permissions.merge_grants(endpoint_id, decode_grants(body), caller))


@router.get("/{endpoint_id}/permissionLevels")
async def permission_levels(context: Context, caller: Caller, endpoint_id: str) -> dict[str, Any]:
    """The levels that there are."""
    context.permissions.require(caller, context.permissions.endpoint(endpoint_id), Level.CAN_VIEW)
    return encode_levels()
