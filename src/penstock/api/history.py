"""Routes beside the contract: the history of an endpoint's configs, its events, what differs, and undo."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import StrictInt

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.api.serving_endpoints import detailed, permitted
from penstock.domain.access import Level
from penstock.domain.events import MAX_EVENTS
from penstock.domain.history import MAX_VERSIONS
from penstock.wire.body import In
from penstock.wire.history import encode_changes, encode_event, encode_version

router = APIRouter(prefix="/api/2.0/serving-endpoints", tags=["history"])


class Rollback(In):
    """Body of a rollback."""

    config_version: StrictInt | None = None


@router.get("/{name}/events")
async def list_events(
    context: Context, caller: Caller, name: str, limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 100
) -> dict[str, Any]:
    """What happened to an endpoint, the newest first."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    return {"events": [encode_event(event) for event in context.history.events(endpoint, limit)]}


@router.get("/{name}/history")
async def list_versions(
    context: Context, caller: Caller, name: str, limit: Annotated[int, Query(ge=1, le=MAX_VERSIONS + 1)] = 100
) -> dict[str, Any]:
    """The versions of an endpoint's config, the newest first."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    active = endpoint.active.version if endpoint.active is not None else None
    versions = context.history.versions(endpoint, limit)
    return {"versions": [encode_version(version, changes, active) for version, changes in versions]}


@router.get("/{name}/history/diff")
async def diff_versions(
    context: Context,
    caller: Caller,
    name: str,
    first: Annotated[int | None, Query(alias="from")] = None,
    second: Annotated[int | None, Query(alias="to")] = None,
) -> dict[str, Any]:
    """What is different between two versions of an endpoint's config; by default the newest and the one before it."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    older, newer, changes = context.history.diff(endpoint, first, second)
    return {"from": older, "to": newer, "changes": encode_changes(changes)}


@router.post("/{name}/config:rollback", openapi_extra=documented(Rollback))
async def roll_back(
    context: Context, caller: Caller, name: str, body: Annotated[Rollback, Depends(body_of_type(Rollback))]
) -> dict[str, Any]:
    """Give an endpoint an earlier config once more; by default the last that served before the active one."""
    endpoint = permitted(context, caller, name, Level.CAN_MANAGE)
    return detailed(context, caller, await context.history.rollback(endpoint, body.config_version, caller))
