"""`GET /metrics`: where Prometheus looks by default."""

from fastapi import APIRouter, Request, Response

from penstock.api.context import Caller, Context
from penstock.wire.stack_metrics import encode_stack_metrics

router = APIRouter(tags=["penstock"])


@router.get("/metrics")
async def stack_metrics(context: Context, caller: Caller, request: Request) -> Response:
    """The replicas and predict tiers of the endpoints that the caller may see, as Prometheus or OpenMetrics text."""
    endpoints = context.endpoints
    statuses = [
        (endpoint.name, entity.name, endpoints.status(endpoint, endpoint.active, entity))
        for endpoint in context.permissions.visible(caller, endpoints.all())
        if endpoint.active is not None
        for entity in endpoint.active.entities
    ]
    body, content_type = encode_stack_metrics(statuses, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
