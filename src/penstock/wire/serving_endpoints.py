"""Serving endpoints as Databricks writes them in JSON: requests in, `ServingEndpointDetailed` out.

Field names, defaults and the rule that both `served_entities` and `served_models` are always emitted follow the
public documentation of the REST API and what the official SDK reads and sends.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StrictStr

from penstock.domain.access import Level
from penstock.domain.batching import MAX_BATCH_LIMIT
from penstock.domain.confinement import RANGES as CONFINEMENT_RANGES
from penstock.domain.endpoint import Endpoint, EndpointConfig, EntityStatus
from penstock.domain.environment import EnvManager
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.following import check_followed_alias
from penstock.domain.inference_log import AutoCapture, TableStatus, payload_table
from penstock.domain.model_check import Preflight
from penstock.domain.names import check_environment_variable, check_served_entity_name
from penstock.domain.predict_tier import PredictTier
from penstock.domain.prediction import MAX_SPIN_US, ExecutorKind
from penstock.domain.requests import ConfigRequest, EntityRequest
from penstock.domain.secrets import reference_in
from penstock.domain.served_entity import REDACTED_COLUMNS, ServedEntity, redacted_columns
from penstock.domain.sizing import choose_sizing
from penstock.domain.spool_mode import SpoolMode
from penstock.domain.table_name import DEFAULT_CATALOG, DEFAULT_SCHEMA
from penstock.domain.traffic import Route
from penstock.wire.body import In
from penstock.wire.endpoint_settings import (
    AiGatewayInput,
    EmailNotificationsInput,
    LegacyRateLimitInput,
    TagInput,
    TelemetryInput,
    encode_tags,
)
from penstock.wire.external_models import decode_external_model, encode_external_model
from penstock.wire.model_check import encode_check, encode_tier
from penstock.wire.table_states import TableState

MAX_ENVIRONMENT_VARIABLES = 30


class ServedEntityInput(In):
    """One entry of `served_entities` or `served_models`; the second uses `model_name` and `model_version`."""

    name: StrictStr | None = None
    entity_name: StrictStr | None = None
    entity_version: StrictStr | StrictInt | None = None
    model_name: StrictStr | None = None
    model_version: StrictStr | StrictInt | None = None
    workload_size: StrictStr | None = None
    workload_type: StrictStr | None = None
    scale_to_zero_enabled: StrictBool | None = None
    min_provisioned_concurrency: StrictInt | None = None
    max_provisioned_concurrency: StrictInt | None = None
    environment_vars: dict[StrictStr, StrictStr] | None = None
    instance_profile_arn: StrictStr | None = None
    traffic_percentage: StrictInt | None = None
    external_model: dict[str, Any] | None = None
    follow_alias: StrictBool | None = None
    entity_alias: StrictStr | None = None


class RouteInput(In):
    """One entry of `traffic_config.routes`."""

    served_entity_name: StrictStr | None = None
    served_model_name: StrictStr | None = None
    traffic_percentage: StrictInt


class TrafficConfigInput(In):
    """How requests are split."""

    routes: list[RouteInput] | None = None


class AutoCaptureInput(In):
    """Where requests and answers are to be logged, in the older form."""

    catalog_name: StrictStr | None = None
    schema_name: StrictStr | None = None
    table_name_prefix: StrictStr | None = None
    enabled: StrictBool | None = None


class EndpointCoreConfigInput(In):
    """Body of a config update, and `config` of a create."""

    served_entities: list[ServedEntityInput] | None = None
    served_models: list[ServedEntityInput] | None = None
    traffic_config: TrafficConfigInput | None = None
    auto_capture_config: AutoCaptureInput | None = None


class CreateEndpoint(In):
    """Body of a create."""

    name: Annotated[StrictStr, Field(description="Unique; letters, digits, '-' and '_'; at most 63.")]
    config: EndpointCoreConfigInput | None = None
    tags: list[TagInput] | None = None
    route_optimized: StrictBool | None = None
    description: StrictStr | None = None
    budget_policy_id: StrictStr | None = None
    email_notifications: EmailNotificationsInput | None = None
    rate_limits: list[LegacyRateLimitInput] | None = None
    ai_gateway: AiGatewayInput | None = None
    telemetry_config: TelemetryInput | None = None


def decode_config(body: EndpointCoreConfigInput, prefix: str = "") -> ConfigRequest:
    """A config as the domain sees it.

    Raises:
        InvalidParameterValue: a field is missing or holds what it may not; the message names it.
    """
    if body.served_entities is not None and body.served_models is not None:
        raise InvalidParameterValue(
            f"{prefix}served_entities and {prefix}served_models came together; they mean the same, give one."
        )
    key = "served_models" if body.served_models is not None else "served_entities"
    given = body.served_models if body.served_models is not None else body.served_entities
    entities = tuple(_decode_entity(entity, f"{prefix}{key}[{index}]") for index, entity in enumerate(given or ()))
    routes = _decode_routes(body.traffic_config, f"{prefix}traffic_config")
    capture = _decode_auto_capture(body.auto_capture_config, f"{prefix}auto_capture_config")
    shares = [entity.traffic_percentage for entity in given or ()]
    if not any(share is not None for share in shares):
        return ConfigRequest(entities, routes, auto_capture=capture)
    if routes:
        raise InvalidParameterValue(
            f"{prefix}traffic_config and {prefix}{key}[].traffic_percentage came together; give one."
        )
    for index, share in enumerate(shares):
        if share is None:
            raise InvalidParameterValue(
                f"{prefix}{key}[{index}].traffic_percentage: missing, though other entries have one."
            )
    return ConfigRequest(entities, (), tuple(share or 0 for share in shares), capture)


def _decode_auto_capture(given: AutoCaptureInput | None, at: str) -> AutoCapture | None:
    if given is None:
        return None
    catalog, schema = given.catalog_name or DEFAULT_CATALOG, given.schema_name or DEFAULT_SCHEMA
    payload_table(catalog, schema, given.table_name_prefix or "", at)
    return AutoCapture(catalog, schema, given.table_name_prefix or "", given.enabled is not False)


def _decode_routes(traffic: TrafficConfigInput | None, at: str) -> tuple[Route, ...]:
    routes = []
    for index, route in enumerate((traffic.routes if traffic else None) or ()):
        names = {name for name in (route.served_entity_name, route.served_model_name) if name}
        if len(names) != 1:
            raise InvalidParameterValue(
                f"{at}.routes[{index}]: got {len(names)} different names; wanted served_entity_name "
                "or served_model_name."
            )
        routes.append(Route(names.pop(), route.traffic_percentage))
    return tuple(routes)


def _decode_entity(entity: ServedEntityInput, at: str) -> EntityRequest:
    if entity.name is not None:
        check_served_entity_name(f"{at}.name", entity.name)
    environment = dict(entity.environment_vars or {})
    check_environment(environment, f"{at}.environment_vars")
    sizing = choose_sizing(
        at,
        entity.workload_size,
        entity.workload_type,
        entity.scale_to_zero_enabled,
        entity.min_provisioned_concurrency,
        entity.max_provisioned_concurrency,
    )
    arn = entity.instance_profile_arn
    if entity.external_model is not None:
        if entity.follow_alias:
            raise InvalidParameterValue(f"{at}.follow_alias: an external model has no alias to follow.")
        if entity.entity_name or entity.model_name:
            raise InvalidParameterValue(f"{at}.external_model: came together with the name of a model; give one.")
        external = decode_external_model(entity.external_model, f"{at}.external_model")
        return EntityRequest(at, "", None, None, entity.name, sizing, environment, arn, *external)
    model_name = _one_of(at, entity_name=entity.entity_name, model_name=entity.model_name)
    version, alias = _decode_version(entity, at)
    follows = bool(entity.follow_alias)
    return EntityRequest(at, model_name, version, alias, entity.name, sizing, environment, arn, follow_alias=follows)


def _decode_version(entity: ServedEntityInput, at: str) -> tuple[str | None, str | None]:
    """The version or the alias that is asked for, one of the two.

    Where an alias is followed, `entity_alias` names it too, as a GET tells it beside the version of that moment.
    """
    if entity.follow_alias and entity.entity_alias is not None:
        check_followed_alias(f"{at}.entity_alias", entity.entity_alias)
        given = entity.entity_version if entity.entity_version is not None else entity.model_version
        if isinstance(given, str) and given.startswith("@") and given[1:] != entity.entity_alias:
            raise InvalidParameterValue(f"{at}: entity_version '{given}' and entity_alias name two aliases; give one.")
        return None, entity.entity_alias
    version = _one_of(at, entity_version=entity.entity_version, model_version=entity.model_version)
    if version.startswith("@"):
        alias = version[1:]
        if not alias:
            raise InvalidParameterValue(f"{at}.entity_version: got '@' without the name of an alias.")
        if entity.follow_alias:
            check_followed_alias(f"{at}.entity_version", alias)
        return None, alias
    if entity.follow_alias:
        raise InvalidParameterValue(
            f"{at}.follow_alias: came with version '{version}'; wanted an alias in entity_version, like '@champion'."
        )
    if not (version.isascii() and version.isdigit()):
        raise InvalidParameterValue(
            f'{at}.entity_version: got \'{version}\'; wanted a version number like "3", or an alias like "@champion".'
        )
    return version, None


def _one_of(at: str, **fields: str | int | None) -> str:
    given = {str(value) for value in fields.values() if value is not None and value != ""}
    if len(given) != 1:
        came = "none of them" if not given else "two that differ"
        raise InvalidParameterValue(f"{at}: wanted {' or '.join(fields)}; got {came}.")
    return given.pop()


def check_environment(environment: Mapping[str, str], at: str) -> None:
    """Check the `environment_vars` of a served entity.

    Raises:
        InvalidParameterValue: too many, a name that is none or is ours, or a setting that holds what it may not.
    """
    if len(environment) > MAX_ENVIRONMENT_VARIABLES:
        raise InvalidParameterValue(
            f"{at}: got {len(environment)} variables; wanted at most {MAX_ENVIRONMENT_VARIABLES}."
        )
    for name, value in environment.items():
        check_environment_variable(at, name, value)
        reference_in(f"{at}.{name}", value)
    _check_number(environment, at, "PENSTOCK_REQUEST_TIMEOUT_S", float, 0.1, 3600)
    _check_number(environment, at, "PENSTOCK_QUEUE_SIZE", int, 0, 1_000_000)
    _check_number(environment, at, "PENSTOCK_SCALE_TO_ZERO_AFTER_S", float, 1, 2_592_000)
    _check_number(environment, at, "PENSTOCK_BATCH_LIMIT", int, 1, MAX_BATCH_LIMIT)
    _check_number(environment, at, "PENSTOCK_SPIN_US", int, 0, MAX_SPIN_US)
    _check_number(environment, at, "PENSTOCK_BATCH_TOLERANCE", float, 0, 1)
    for name, (low, high) in CONFINEMENT_RANGES.items():
        _check_number(environment, at, name, int, low, high)
    if REDACTED_COLUMNS in environment and not redacted_columns(environment):
        raise InvalidParameterValue(
            f"{at}.{REDACTED_COLUMNS}: got '{environment[REDACTED_COLUMNS]}'; wanted columns, with commas between."
        )
    _check_choice(environment, at, "PENSTOCK_EXECUTOR", tuple(ExecutorKind))
    _check_choice(environment, at, "PENSTOCK_IDEMPOTENT", ("true", "false"))
    _check_choice(environment, at, "PENSTOCK_ENV_MANAGER", tuple(EnvManager))
    _check_choice(environment, at, "PENSTOCK_PREFLIGHT", tuple(Preflight))
    _check_choice(environment, at, "PENSTOCK_PREDICT_TIER", tuple(PredictTier))
    _check_choice(environment, at, "PENSTOCK_ONNX_CONVERSION", ("off", "on"))
    _check_choice(environment, at, "PENSTOCK_SPOOL_MODE", tuple(SpoolMode))


def _check_choice(environment: Mapping[str, str], at: str, name: str, choices: tuple[str, ...]) -> None:
    if name in environment and environment[name] not in choices:
        raise InvalidParameterValue(
            f"{at}.{name}: got '{environment[name]}'; wanted {', '.join(choices[:-1])} or {choices[-1]}."
        )


def _check_number(
    environment: Mapping[str, str], at: str, name: str, kind: Callable[[str], float], low: float, high: float
) -> None:
    if name not in environment:
        return
    try:
        is_within = low <= kind(environment[name]) <= high
    except ValueError:
        is_within = False
    if not is_within:
        raise InvalidParameterValue(
            f"{at}.{name}: got '{environment[name]}'; wanted a number from {low:.10g} to {high:.10g}."
        )


StatusOf = Callable[[EndpointConfig, ServedEntity], EntityStatus]
"""Looks up what is seen of one entity of one config."""


def encode_detailed(
    endpoint: Endpoint,
    is_ready: bool,
    status_of: StatusOf,
    level: Level = Level.CAN_MANAGE,
    task: str | None = None,
    capture_state: TableState | None = None,
    not_logged: int | None = None,
) -> dict[str, Any]:
    """`ServingEndpointDetailed`, for a caller of that level.

    Args:
        endpoint: the endpoint.
        is_ready: whether all of its entities are.
        status_of: tells what is seen of an entity.
        level: the caller's.
        task: what its models say they do.
        capture_state: how the table of its `auto_capture_config` stands.
        not_logged: how many of its answers left without a record; None where that is nobody's concern.
    """
    document = _encode_head(endpoint, is_ready, task)
    if not_logged is not None:
        document["state"]["not_logged"] = not_logged
    capture = encode_auto_capture(endpoint.auto_capture, capture_state)
    if endpoint.active is not None:
        document["config"] = {**encode_config(endpoint.active, status_of), **capture}
    if endpoint.pending is not None:
        document["pending_config"] = {
            **encode_config(endpoint.pending, status_of),
            **capture,
            "start_time": endpoint.pending.started_at_ms,
        }
    document["route_optimized"] = endpoint.route_optimized
    document["permission_level"] = level.value
    if endpoint.email_notifications:
        document["email_notifications"] = endpoint.email_notifications
    return document


def encode_auto_capture(capture: AutoCapture | None, state: TableState | None) -> dict[str, Any]:
    """`auto_capture_config` of a config, if there is one."""
    if capture is None:
        return {}
    return {
        "auto_capture_config": {
            "catalog_name": capture.catalog,
            "schema_name": capture.schema,
            "table_name_prefix": capture.prefix,
            "enabled": capture.enabled,
            "state": {
                "payload_table": {
                    "name": capture.table,
                    "status": (TableStatus.PENDING if state is None else state.status).value,
                    "status_message": "" if state is None else state.message,
                }
            },
        }
    }


def encode_summary(endpoint: Endpoint, is_ready: bool, task: str | None = None) -> dict[str, Any]:
    """An item of the list: without traffic and deployment states."""
    document = _encode_head(endpoint, is_ready, task)
    config = endpoint.active or endpoint.pending
    if config is not None:
        document["config"] = {
            "served_entities": [{"name": e.name, **_encode_model(e)} for e in config.entities],
            "served_models": [_as_served_model({"name": e.name, **_encode_model(e)}) for e in config.entities],
        }
    return document


def _encode_head(endpoint: Endpoint, is_ready: bool, task: str | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": endpoint.name,
        "id": endpoint.id,
        "creator": endpoint.creator,
        "creation_timestamp": endpoint.created_at_ms,
        "last_updated_timestamp": endpoint.updated_at_ms,
        "state": {
            "ready": "READY" if is_ready else "NOT_READY",
            "config_update": endpoint.update.value,
            "suspend": "STOPPED" if endpoint.stopped else "NOT_SUSPENDED",
        },
        "tags": encode_tags(endpoint.tags),
        "description": endpoint.description,
    }
    kept = {
        "ai_gateway": endpoint.ai_gateway,
        "rate_limits": endpoint.rate_limits,
        "telemetry_config": endpoint.telemetry,
    }
    document.update({name: value for name, value in kept.items() if value})
    if task is not None:
        document["task"] = task
    if endpoint.budget_policy_id is not None:
        document["budget_policy_id"] = endpoint.budget_policy_id
    return document


def encode_config(config: EndpointConfig, status_of: StatusOf) -> dict[str, Any]:
    """A config, with what is seen of its entities."""
    entities = [_encode_entity(entity, status_of(config, entity)) for entity in config.entities]
    return {
        "served_entities": entities,
        "served_models": [_as_served_model(entity) for entity in entities],
        "traffic_config": encode_traffic(config.routes),
        "config_version": config.version,
    }


def encode_traffic(routes: Iterable[Route]) -> dict[str, Any]:
    """`traffic_config`, with both names of each entity."""
    return {
        "routes": [
            {
                "served_model_name": route.entity_name,
                "served_entity_name": route.entity_name,
                "traffic_percentage": route.percentage,
            }
            for route in routes
        ]
    }


def _encode_entity(entity: ServedEntity, status: EntityStatus) -> dict[str, Any]:
    state: dict[str, Any] = {
        "deployment": status.deployment.value,
        "deployment_state_message": status.message,
        "replicas": {"ready": status.ready, "starting": status.starting, "draining": status.draining},
    }
    if status.check is not None:
        state |= {**encode_tier(status.check), "predict_tier": status.tier.value}
        state["check"] = encode_check(status.check)
    return {**encode_entity(entity), "state": state}


def encode_entity(entity: ServedEntity) -> dict[str, Any]:
    """A served entity as it was asked for and resolved, without how it stands."""
    sizing = entity.sizing
    document: dict[str, Any] = {
        "name": entity.name,
        **_encode_model(entity),
        "workload_type": sizing.workload_type.value,
        "scale_to_zero_enabled": sizing.scale_to_zero,
        "creator": entity.creator,
        "creation_timestamp": entity.created_at_ms,
    }
    if sizing.size is not None:
        document["workload_size"] = sizing.size.value
    else:
        document["min_provisioned_concurrency"] = sizing.min_concurrency
        document["max_provisioned_concurrency"] = sizing.max_concurrency
    if entity.environment:
        document["environment_vars"] = entity.environment
    if entity.instance_profile_arn is not None:
        document["instance_profile_arn"] = entity.instance_profile_arn
    if entity.alias is not None:
        document["entity_alias"] = entity.alias
        document["follow_alias"] = entity.follow_alias
    return document


def _encode_model(entity: ServedEntity) -> dict[str, Any]:
    if entity.external is not None:
        return {"external_model": encode_external_model(entity.external)}
    if entity.model is None:
        return {}
    version = {} if entity.is_waiting else {"entity_version": entity.model.version}
    return {"entity_name": entity.model.name, **version}


def _as_served_model(entity: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"entity_name": "model_name", "entity_version": "model_version"}
    return {renamed.get(key, key): value for key, value in entity.items()}
