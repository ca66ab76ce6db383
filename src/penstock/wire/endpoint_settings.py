"""What an endpoint carries beside its config: tags, notifications, rate limits, AI Gateway, telemetry.

Each is validated here, stored as it came, echoed, and cleared by an empty value. `docs/compatibility.md` says which of
them anything acts on. Names, values and which fields exclude each other follow the public REST documentation.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.inference_log import AutoCapture, InferenceLog, payload_table
from penstock.domain.table_name import DEFAULT_CATALOG, DEFAULT_SCHEMA, TableName
from penstock.wire.body import In

_MAX_TAGS = 50
_MAX_TAG_KEY_LENGTH = 255
_TABLE_FIELDS = ("catalog_name", "schema_name", "table_name_prefix")


class TagInput(In):
    """A tag; the value may be missing."""

    key: Annotated[StrictStr, Field(min_length=1)]
    value: StrictStr | None = None


class PatchTags(In):
    """Body of a change of tags."""

    add_tags: list[TagInput] | None = None
    delete_tags: list[StrictStr] | None = None


class EmailNotificationsInput(In):
    """Whom to tell of an update's end."""

    on_update_success: list[StrictStr] | None = None
    on_update_failure: list[StrictStr] | None = None


class UpdateNotifications(In):
    """Body of a change of notifications."""

    email_notifications: EmailNotificationsInput | None = None


class RateLimitKey(StrEnum):
    """What a rate limit counts by."""

    ENDPOINT = "endpoint"
    USER = "user"
    USER_GROUP = "user_group"
    SERVICE_PRINCIPAL = "service_principal"


class RenewalPeriod(StrEnum):
    """After which time a rate limit begins anew."""

    MINUTE = "minute"


class LegacyRateLimitKey(StrEnum):
    """What a rate limit of the older route counts by."""

    ENDPOINT = "endpoint"
    USER = "user"


class LegacyRateLimitInput(In):
    """A rate limit of the older route."""

    calls: Annotated[StrictInt, Field(ge=0)]
    key: Annotated[LegacyRateLimitKey, Field(strict=False)] = LegacyRateLimitKey.ENDPOINT
    renewal_period: Annotated[RenewalPeriod, Field(strict=False)] = RenewalPeriod.MINUTE


class PutRateLimits(In):
    """Body of the older route of rate limits."""

    rate_limits: list[LegacyRateLimitInput] | None = None


class RateLimitInput(In):
    """A rate limit of the AI Gateway: of calls, of tokens, or of both."""

    renewal_period: Annotated[RenewalPeriod, Field(strict=False)]
    key: Annotated[RateLimitKey, Field(strict=False)] = RateLimitKey.ENDPOINT
    principal: StrictStr | None = None
    calls: Annotated[StrictInt, Field(ge=0)] | None = None
    tokens: Annotated[StrictInt, Field(ge=0)] | None = None


class SwitchInput(In):
    """Something that is on or off."""

    enabled: StrictBool


class InferenceTableInput(In):
    """Where requests and answers are to be logged."""

    enabled: StrictBool | None = None
    catalog_name: StrictStr | None = None
    schema_name: StrictStr | None = None
    table_name_prefix: StrictStr | None = None


class PiiBehavior(StrEnum):
    """What is to happen to personal data."""

    NONE = "NONE"
    BLOCK = "BLOCK"
    MASK = "MASK"


class PiiInput(In):
    """The guardrail for personal data."""

    behavior: Annotated[PiiBehavior, Field(strict=False)] | None = None


class GuardrailInput(In):
    """Guardrails of one direction."""

    safety: StrictBool | None = None
    pii: PiiInput | None = None
    invalid_keywords: list[StrictStr] | None = None
    valid_topics: list[StrictStr] | None = None


class GuardrailsInput(In):
    """Guardrails of both directions."""

    input: GuardrailInput | None = None
    output: GuardrailInput | None = None


class AiGatewayInput(In):
    """Body of `PUT …/ai-gateway`: replaces what is there; empty clears it."""

    usage_tracking_config: SwitchInput | None = None
    inference_table_config: InferenceTableInput | None = None
    rate_limits: list[RateLimitInput] | None = None
    fallback_config: SwitchInput | None = None
    guardrails: GuardrailsInput | None = None


class TelemetryFeature(StrEnum):
    """A kind of telemetry."""

    LOGS = "TELEMETRY_FEATURE_LOGS"
    METRICS = "TELEMETRY_FEATURE_METRICS"
    TRACES = "TELEMETRY_FEATURE_TRACES"
    INFERENCE_TABLE = "TELEMETRY_FEATURE_INFERENCE_TABLE"


class TelemetryTablesInput(In):
    """Names of the tables for each kind."""

    logs_table: StrictStr | None = None
    metrics_table: StrictStr | None = None
    traces_table: StrictStr | None = None
    annotations_table: StrictStr | None = None


class TelemetryInferenceTableInput(In):
    """How much is logged."""

    sampling_fraction: Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)] | None = None


class TelemetryInput(In):
    """Where telemetry goes."""

    enabled_telemetry_features: list[Annotated[TelemetryFeature, Field(strict=False)]] | None = None
    inference_table_config: TelemetryInferenceTableInput | None = None
    table_names: TelemetryTablesInput | None = None
    telemetry_profile_id: StrictStr | None = None


class PatchTelemetry(In):
    """Body of a change of telemetry; without `telemetry_config` it is removed."""

    telemetry_config: TelemetryInput | None = None


def decode_tags(tags: list[TagInput] | None, field: str = "tags") -> dict[str, str | None]:
    """Tags by key.

    Raises:
        InvalidParameterValue: a key came twice, is too long or not printable, or there are too many.
    """
    decoded: dict[str, str | None] = {}
    for index, tag in enumerate(tags or ()):
        if tag.key in decoded:
            raise InvalidParameterValue(f"{field}[{index}].key: '{tag.key}' came twice.")
        if len(tag.key) > _MAX_TAG_KEY_LENGTH or not tag.key.isprintable():
            raise InvalidParameterValue(
                f"{field}[{index}].key: got {tag.key[:40]!r}; wanted 1 to {_MAX_TAG_KEY_LENGTH} printable characters."
            )
        decoded[tag.key] = tag.value
    _check_tag_count(decoded, field)
    return decoded


def changed_tags(tags: dict[str, str | None], patch: PatchTags) -> dict[str, str | None]:
    """The tags after a change: deleted first, then added or given a new value.

    Raises:
        InvalidParameterValue: a key came twice, or there would be too many.
    """
    kept = {key: value for key, value in tags.items() if key not in (patch.delete_tags or ())}
    changed = {**kept, **decode_tags(patch.add_tags, "add_tags")}
    _check_tag_count(changed, "add_tags")
    return changed


def _check_tag_count(tags: dict[str, str | None], field: str) -> None:
    if len(tags) > _MAX_TAGS:
        raise InvalidParameterValue(f"{field}: the endpoint would have {len(tags)} tags; wanted at most {_MAX_TAGS}.")


def encode_tags(tags: dict[str, str | None]) -> list[dict[str, str]]:
    """Tags as the contract writes them."""
    return [{"key": key} if value is None else {"key": key, "value": value} for key, value in tags.items()]


def decode_ai_gateway(
    body: AiGatewayInput, endpoint_name: str, before: dict[str, Any], capture: AutoCapture | None = None
) -> dict[str, Any]:
    """An AI Gateway configuration as it is stored, with the default name of its table filled in.

    Args:
        body: what came.
        endpoint_name: stands for a prefix that did not come.
        before: what is stored.
        capture: the other inference table of the endpoint.

    Raises:
        InvalidParameterValue: a limit of nothing, a principal that does not go with its key, or an inference table
            that is moved while it is on.
    """
    for index, limit in enumerate(body.rate_limits or ()):
        at = f"rate_limits[{index}]"
        if limit.calls is None and limit.tokens is None:
            raise InvalidParameterValue(f"{at}: got neither calls nor tokens; wanted at least one.")
        wants_principal = limit.key in {RateLimitKey.USER_GROUP, RateLimitKey.SERVICE_PRINCIPAL}
        if wants_principal and not limit.principal:
            raise InvalidParameterValue(f"{at}.principal: missing; the key '{limit.key}' needs one.")
        if limit.key is RateLimitKey.ENDPOINT and limit.principal:
            raise InvalidParameterValue(f"{at}.principal: got '{limit.principal}'; the key 'endpoint' takes none.")
    document = body.document()
    table = document.get("inference_table_config")
    if table is not None:
        lacks_schema = table.get("enabled") and table.get("catalog_name") and not table.get("schema_name")
        for name, default in zip(_TABLE_FIELDS, (DEFAULT_CATALOG, DEFAULT_SCHEMA, endpoint_name), strict=True):
            table[name] = table.get(name) or default
        _check_table(table, before.get("inference_table_config", {}))
        if lacks_schema:
            raise InvalidParameterValue(
                "inference_table_config.schema_name: missing; a catalog needs one (without both it is main.default)."
            )
    check_two_tables(document, capture, endpoint_name)
    return document


def check_two_tables(ai_gateway: Mapping[str, Any], capture: AutoCapture | None, endpoint_name: str) -> None:
    """The two inference tables of an endpoint have different columns.

    Raises:
        InvalidParameterValue: they would be one.
    """
    table = ai_gateway.get("inference_table_config") or {}
    if capture is None or not (capture.enabled and table.get("enabled")):
        return
    named = replace(capture, prefix=capture.prefix or endpoint_name)
    if _table_of(table, endpoint_name) == table_of_capture(named):
        raise InvalidParameterValue(
            f"table_name_prefix: got '{named.prefix}' in inference_table_config and in auto_capture_config; "
            "wanted a table for each, for they have different columns."
        )


def _check_table(table: dict[str, Any], before: dict[str, Any]) -> None:
    at = "inference_table_config"
    _table_of(table, table["table_name_prefix"])
    moved = [field for field in _TABLE_FIELDS if field in before and table[field] != before[field]]
    if table.get("enabled") and before.get("enabled") and moved:
        raise InvalidParameterValue(f"{at}.{moved[0]}: cannot change while the table is enabled; disable it first.")


def inference_log(endpoint: Endpoint) -> InferenceLog:
    """What of an endpoint's predictions is logged, by the configurations that it stores."""
    table = endpoint.ai_gateway.get("inference_table_config") or {}
    capture = endpoint.auto_capture
    usage = endpoint.ai_gateway.get("usage_tracking_config") or {}
    fraction = (endpoint.telemetry.get("inference_table_config") or {}).get("sampling_fraction")
    return InferenceLog(
        payload=str(_table_of(table, endpoint.name)) if table.get("enabled") else "",
        legacy=str(table_of_capture(capture)) if capture is not None and capture.enabled else "",
        fraction=1.0 if fraction is None else float(fraction),
        tracks_usage=bool(usage.get("enabled")),
    )


def table_of_capture(capture: AutoCapture) -> TableName:
    """The table of an `auto_capture_config`.

    Raises:
        InvalidParameterValue: it is no name of a table.
    """
    return payload_table(capture.catalog, capture.schema, capture.prefix, "auto_capture_config")


def _table_of(table: Mapping[str, Any], endpoint_name: str) -> TableName:
    catalog, schema = table.get("catalog_name") or DEFAULT_CATALOG, table.get("schema_name") or DEFAULT_SCHEMA
    return payload_table(catalog, schema, table.get("table_name_prefix") or endpoint_name, "inference_table_config")


def payload_tables(endpoint: Endpoint) -> list[TableName]:
    """The tables that an endpoint logs to, or did before that was turned off: the AI Gateway's, then the older one."""
    table = endpoint.ai_gateway.get("inference_table_config") or {}
    own = [_table_of(table, endpoint.name)] if table else []
    return own if endpoint.auto_capture is None else [*own, table_of_capture(endpoint.auto_capture)]


def payload_of(endpoint: Endpoint) -> TableName | None:
    """The table that feedback to an endpoint belongs to: the first of those that it logs to."""
    return next(iter(payload_tables(endpoint)), None)


def decode_telemetry(body: TelemetryInput) -> dict[str, Any]:
    """A telemetry configuration as it is stored.

    Raises:
        InvalidParameterValue: both names and a profile came.
    """
    if body.table_names is not None and body.telemetry_profile_id is not None:
        raise InvalidParameterValue(
            "telemetry_config: table_names and telemetry_profile_id came together; give one or the other."
        )
    return body.document()
