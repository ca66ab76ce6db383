"""What an endpoint carries beside its config: tags, notifications, rate limits, AI Gateway, telemetry."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.api.serving_endpoints import detailed, permitted
from penstock.domain.access import Level
from penstock.domain.endpoint import Endpoint, check_not_updating
from penstock.domain.errors import InvalidParameterValue
from penstock.wire.endpoint_settings import (
    AiGatewayInput,
    PatchTags,
    PatchTelemetry,
    PutRateLimits,
    UpdateNotifications,
    changed_tags,
    decode_ai_gateway,
    decode_telemetry,
    encode_tags,
)

router = APIRouter(prefix="/api/2.0/serving-endpoints", tags=["endpoint settings"])


@router.patch("/{name}/tags", openapi_extra=documented(PatchTags))
async def patch_tags(
    context: Context, caller: Caller, name: str, body: Annotated[PatchTags, Depends(body_of_type(PatchTags))]
) -> dict[str, Any]:
    """Add, change and delete tags; answers all that there are then."""
    endpoint = _change(context, caller, name, lambda before: replace(before, tags=changed_tags(before.tags, body)))
    return {"tags": encode_tags(endpoint.tags)}


@router.patch("/{name}/notifications", openapi_extra=documented(UpdateNotifications))
async def update_notifications(
    context: Context,
    caller: Caller,
    name: str,
    body: Annotated[UpdateNotifications, Depends(body_of_type(UpdateNotifications))],
) -> dict[str, Any]:
    """Replace whom to tell of an update's end."""
    document = body.email_notifications.document() if body.email_notifications else {}
    endpoint = _change(context, caller, name, lambda before: replace(before, email_notifications=document))
    return {"email_notifications": endpoint.email_notifications, "name": name}


@router.put("/{name}/rate-limits", openapi_extra=documented(PutRateLimits))
async def put_rate_limits(
    context: Context, caller: Caller, name: str, body: Annotated[PutRateLimits, Depends(body_of_type(PutRateLimits))]
) -> dict[str, Any]:
    """Replace the rate limits of the older route."""
    limits = [limit.document() for limit in body.rate_limits or ()]
    endpoint = _change(context, caller, name, lambda before: replace(before, rate_limits=limits))
    return {"rate_limits": endpoint.rate_limits}


@router.put("/{name}/ai-gateway", openapi_extra=documented(AiGatewayInput))
async def put_ai_gateway(
    context: Context, caller: Caller, name: str, body: Annotated[AiGatewayInput, Depends(body_of_type(AiGatewayInput))]
) -> dict[str, Any]:
    """Replace the AI Gateway's configuration; an empty body clears it."""
    return _change(
        context,
        caller,
        name,
        lambda before: replace(
            before, ai_gateway=decode_ai_gateway(body, name, before.ai_gateway, before.auto_capture)
        ),
    ).ai_gateway


@router.patch("/{name}/telemetry-config", openapi_extra=documented(PatchTelemetry))
async def patch_telemetry(
    context: Context, caller: Caller, name: str, body: Annotated[PatchTelemetry, Depends(body_of_type(PatchTelemetry))]
) -> dict[str, Any]:
    """Replace the telemetry configuration; without one it is removed."""
    document = decode_telemetry(body.telemetry_config) if body.telemetry_config else {}

    def change(before: Endpoint) -> Endpoint:
        check_not_updating(before)
        if before.active is None and before.pending is None:
            raise InvalidParameterValue(f"telemetry_config: endpoint '{name}' serves no model.")
        return replace(before, telemetry=document)

    return detailed(context, caller, _change(context, caller, name, change))


def _change(context: Context, caller: str, name: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
    permitted(context, caller, name, Level.CAN_MANAGE)
    return context.endpoints.change(name, change)
