"""`/api/2.0/serving-endpoints`: Databricks Model Serving's management routes.

Paths and methods follow the public REST documentation. A list or create also comes with a trailing slash: the
`mlflow.deployments` client sends one.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.control.logs import read_entity_log
from penstock.domain.access import Level
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.metric_history import DAY_S, MINUTE_S
from penstock.domain.requests import EndpointRequest
from penstock.stores.model_files import read_signature, read_traits
from penstock.wire.endpoint_settings import (
    check_two_tables,
    decode_ai_gateway,
    decode_tags,
    decode_telemetry,
    inference_log,
    table_of_capture,
)
from penstock.wire.messages import CLIENT_HOST_HEADER
from penstock.wire.metric_history import encode_past
from penstock.wire.metrics import encode_metrics
from penstock.wire.openapi import encode_openapi
from penstock.wire.serving_endpoints import (
    CreateEndpoint,
    EndpointCoreConfigInput,
    decode_config,
    encode_detailed,
    encode_summary,
)

_MAX_TIME_S = 1 << 40

router = APIRouter(prefix="/api/2.0/serving-endpoints", tags=["serving endpoints"])


@router.get("/", include_in_schema=False)
@router.get("")
async def list_endpoints(context: Context, caller: Caller) -> dict[str, Any]:
    """List the endpoints that the caller may see."""
    endpoints = context.endpoints
    seen = context.permissions.visible(caller, endpoints.all())
    return {"endpoints": [encode_summary(e, endpoints.is_ready(e), _task(context, e)) for e in seen]}


@router.post("/", include_in_schema=False)
@router.post("", openapi_extra=documented(CreateEndpoint))
async def create_endpoint(
    context: Context, caller: Caller, body: Annotated[CreateEndpoint, Depends(body_of_type(CreateEndpoint))]
) -> dict[str, Any]:
    """Create an endpoint."""
    request = EndpointRequest(
        name=body.name,
        config=None if body.config is None else decode_config(body.config, "config."),
        description=body.description or "",
        route_optimized=bool(body.route_optimized),
        tags=decode_tags(body.tags),
        budget_policy_id=body.budget_policy_id,
        email_notifications=body.email_notifications.document() if body.email_notifications else {},
        rate_limits=[limit.document() for limit in body.rate_limits or ()],
        ai_gateway=decode_ai_gateway(body.ai_gateway, body.name, {}) if body.ai_gateway else {},
        telemetry=decode_telemetry(body.telemetry_config) if body.telemetry_config else {},
    )
    check_two_tables(request.ai_gateway, request.config.auto_capture if request.config else None, request.name)
    return detailed(context, caller, await context.endpoints.create(request, caller))


@router.get("/{name}")
async def get_endpoint(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Get an endpoint."""
    return detailed(context, caller, permitted(context, caller, name, Level.CAN_VIEW))


@router.put("/{name}/config", openapi_extra=documented(EndpointCoreConfigInput))
async def update_config(
    context: Context,
    caller: Caller,
    name: str,
    body: Annotated[EndpointCoreConfigInput, Depends(body_of_type(EndpointCoreConfigInput))],
) -> dict[str, Any]:
    """Give an endpoint a new config."""
    endpoint = permitted(context, caller, name, Level.CAN_MANAGE)
    request = decode_config(body)
    check_two_tables(endpoint.ai_gateway, request.auto_capture, name)
    return detailed(context, caller, await context.endpoints.update_config(name, request, caller))


@router.post("/{name}/config:stop")
async def stop_endpoint(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Stop an endpoint."""
    permitted(context, caller, name, Level.CAN_MANAGE)
    return detailed(context, caller, await context.endpoints.stop(name, caller))


@router.post("/{name}/config:start")
async def start_endpoint(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Start a stopped endpoint."""
    permitted(context, caller, name, Level.CAN_MANAGE)
    return detailed(context, caller, await context.endpoints.start(name, caller))


@router.get("/{name}/openapi")
async def endpoint_openapi(context: Context, caller: Caller, name: str, request: Request) -> dict[str, Any]:
    """The OpenAPI document of an endpoint that is ready."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    if endpoint.active is None or not context.endpoints.is_ready(endpoint):
        raise InvalidParameterValue(f"Endpoint '{name}' is not ready, so it has no OpenAPI document yet.")
    signatures = {
        entity.name: read_signature(context.artifacts, entity.model)
        for entity in endpoint.active.entities
        if entity.model is not None
    }
    scheme = "https" if context.is_secure else request.url.scheme
    address = f"{scheme}://{request.headers.get(CLIENT_HOST_HEADER, request.url.netloc)}"
    return encode_openapi(endpoint.name, endpoint.active.version, address, signatures)


@router.get("/{name}/metrics")
async def export_metrics(context: Context, caller: Caller, name: str, request: Request) -> Response:
    """The metrics of an endpoint over the last minute, as Prometheus or OpenMetrics text."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    metrics = context.metrics
    accept = request.headers.get("accept", "")
    body, content_type = encode_metrics(name, metrics.loads(endpoint), metrics.usages(endpoint), time.time(), accept)
    return Response(body, headers={"content-type": content_type})


@router.get("/{name}/metrics/history")
async def past_metrics(
    context: Context,
    caller: Caller,
    name: str,
    begin_s: Annotated[int | None, Query(alias="from", ge=0, le=_MAX_TIME_S)] = None,
    end_s: Annotated[int | None, Query(alias="to", ge=0, le=_MAX_TIME_S)] = None,
    resolution_s: Annotated[int | None, Query(alias="resolution", ge=MINUTE_S, le=DAY_S)] = None,
) -> dict[str, Any]:
    """The metrics of an endpoint's served entities over time, at most the last 14 days."""
    endpoint = permitted(context, caller, name, Level.CAN_VIEW)
    if resolution_s is not None and resolution_s % MINUTE_S:
        raise InvalidParameterValue(f"resolution: got {resolution_s}; wanted seconds, a multiple of {MINUTE_S}.")
    return encode_past(name, *context.metric_history.past(endpoint, begin_s, end_s, resolution_s))


@router.delete("/{name}")
async def delete_endpoint(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Delete an endpoint."""
    permitted(context, caller, name, Level.CAN_MANAGE)
    await context.endpoints.delete(name, caller)
    return {}


@router.get("/{name}/served-models/{served_model}/build-logs")
async def build_logs(
    context: Context,
    caller: Caller,
    name: str,
    served_model: str,
    config_version: Annotated[int | None, Query()] = None,
) -> dict[str, Any]:
    """What a served entity printed until it was ready."""
    return _log(context, permitted(context, caller, name, Level.CAN_VIEW), served_model, config_version, "build")


@router.get("/{name}/served-models/{served_model}/logs")
async def service_logs(
    context: Context,
    caller: Caller,
    name: str,
    served_model: str,
    config_version: Annotated[int | None, Query()] = None,
) -> dict[str, Any]:
    """What a served entity printed since it was ready."""
    return _log(context, permitted(context, caller, name, Level.CAN_VIEW), served_model, config_version, "service")


def _log(
    context: Context, endpoint: Endpoint, served_model: str, config_version: int | None, kind: str
) -> dict[str, Any]:
    text = read_entity_log(context.logs, endpoint, served_model, config_version, kind, context.limits)
    return {"logs": text}


def permitted(context: Context, caller: str, name: str, wanted: Level) -> Endpoint:
    """The endpoint of that name, if the caller has the level that is wanted on it.

    Raises:
        ResourceDoesNotExist: there is no such endpoint.
        PermissionDenied: the caller has no such level.
    """
    endpoint = context.endpoints.get(name)
    context.permissions.require(caller, endpoint, wanted)
    return endpoint


def detailed(context: Context, caller: str, endpoint: Endpoint) -> dict[str, Any]:
    """`ServingEndpointDetailed` of an endpoint as it is seen now, by this caller."""
    endpoints = context.endpoints
    return encode_detailed(
        endpoint,
        endpoints.is_ready(endpoint),
        lambda config, entity: endpoints.status(endpoint, config, entity),
        context.permissions.level(caller, endpoint) or Level.CAN_VIEW,
        _task(context, endpoint),
        None
        if endpoint.auto_capture is None
        else context.table_watch.state(str(table_of_capture(endpoint.auto_capture))),
        None if inference_log(endpoint).is_empty else context.not_logged.counts()[endpoint.id],
    )


def _task(context: Context, endpoint: Endpoint) -> str | None:
    """What the first of its models that says so does; known once that model has been fetched."""
    config = endpoint.active or endpoint.pending
    entities = config.entities if config else ()
    if config is not None and config.is_external:
        return next(entity.external.task for entity in entities if entity.external)
    tasks = (read_traits(context.artifacts, entity.model).task for entity in entities if entity.model)
    return next((task for task in tasks if task is not None), None)
