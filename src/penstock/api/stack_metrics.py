"""`GET /metrics`: where Prometheus looks by default."""

from fastapi import APIRouter, Request, Response

from penstock.api.context import Caller, Context
from penstock.wire.stack_metrics import encode_stack_metrics

router = APIRouter(tags=["penstock"])


@router.get("/metrics")
async def stack_metrics(context: Context, caller: Caller, request: Request) -> Response:
    """The processes, gateways and endpoints that the caller may see, as Prometheus or OpenMetrics text."""
    seen = context.permissions.visible(caller, context.endpoints.all())
    metrics = await context.stack_metrics.of(seen)
    body, content_type = encode_stack_metrics(metrics, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
