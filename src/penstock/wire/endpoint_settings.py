"""What an endpoint carries beside its config: tags, notifications, rate limits, AI Gateway, telemetry.

Each is validated here, stored as it came, echoed, and cleared by an empty value. `docs/compatibility.md` says which of
them anything acts on. Names, values and which fields exclude each other follow the public REST documentation.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.feedback import PAYLOAD_SUFFIX
from penstock.domain.table_name import TableName
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


def decode_ai_gateway(body: AiGatewayInput, endpoint_name: str, before: dict[str, Any]) -> dict[str, Any]:
    """An AI Gateway configuration as it is stored, with the default prefix of its table filled in.

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
        table.setdefault("table_name_prefix", endpoint_name)
        _check_table(table, before.get("inference_table_config", {}))
    return document


def _check_table(table: dict[str, Any], before: dict[str, Any]) -> None:
    if not table.get("enabled"):
        return
    at = "inference_table_config"
    for field in ("catalog_name", "schema_name"):
        if not table.get(field):
            raise InvalidParameterValue(f"{at}.{field}: missing; an enabled inference table needs it.")
    moved = [field for field in _TABLE_FIELDS if field in table and field in before and table[field] != before[field]]
    if before.get("enabled") and moved:
        raise InvalidParameterValue(f"{at}.{moved[0]}: cannot change while the table is enabled; disable it first.")


def logged_fraction(ai_gateway: Mapping[str, Any], telemetry: Mapping[str, Any]) -> float:
    """The share of an endpoint's predictions that are logged, as it stores its configurations; 0 logs none."""
    if not (ai_gateway.get("inference_table_config") or {}).get("enabled"):
        return 0.0
    fraction = (telemetry.get("inference_table_config") or {}).get("sampling_fraction")
    return 1.0 if fraction is None else float(fraction)


def inference_table(ai_gateway: Mapping[str, Any]) -> TableName | None:
    """The table that an endpoint logs to, or did before that was turned off; None if it never had one."""
    table = ai_gateway.get("inference_table_config") or {}
    catalog, schema, prefix = (table.get(field) for field in _TABLE_FIELDS)
    if not (catalog and schema and prefix):
        return None
    return TableName(*(str(part).lower() for part in (catalog, schema, f"{prefix}{PAYLOAD_SUFFIX}")))


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
