"""Routes of a Databricks workspace that clients of Model Serving also call: who am I, and what we do not have."""

import hashlib
from typing import Any

from fastapi import APIRouter, Response

from penstock.api.context import Caller, Context
from penstock.domain.errors import NotSupported

router = APIRouter(prefix="/api/2.0", tags=["workspace"])


@router.get("/preview/scim/v2/Me")
async def current_user(context: Context, caller: Caller, response: Response) -> dict[str, Any]:
    """The principal of the token; the header carries the workspace's id, a number made of the home folder's path."""
    response.headers["x-databricks-org-id"] = str(context.workspace_id)
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": str(int(hashlib.sha256(caller.encode()).hexdigest()[:13], 16)),
        "userName": caller,
        "displayName": caller,
        "active": True,
        "emails": [{"value": caller, "type": "work", "primary": True}],
        "groups": [{"display": group} for group in context.permissions.groups(caller)],
    }


@router.post("/external-function")
async def external_function() -> None:
    """Calls through a connection of Unity Catalog: not to be had here."""
    raise NotSupported("External functions need connections of Unity Catalog, which are not to be had here.")


@router.post("/serving-endpoints/pt")
async def create_provisioned_throughput() -> None:
    """Provisioned throughput: not to be had here."""
    raise NotSupported(_PROVISIONED)


@router.put("/serving-endpoints/pt/{name}/config")
async def update_provisioned_throughput(name: str) -> None:
    """Provisioned throughput: not to be had here."""
    raise NotSupported(f"Endpoint '{name}': {_PROVISIONED}")


_PROVISIONED = (
    "Provisioned throughput is not to be had here; size served entities with workload_size or "
    "min_provisioned_concurrency and max_provisioned_concurrency on the ordinary routes."
)
