"""What an endpoint carries beside its config: tags, AI Gateway, telemetry."""

import json
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.inference_log import AutoCapture
from penstock.wire.body import describe
from penstock.wire.endpoint_settings import (
    AiGatewayInput,
    In,
    PatchTags,
    PutRateLimits,
    TagInput,
    TelemetryInput,
    changed_tags,
    decode_ai_gateway,
    decode_tags,
    decode_telemetry,
    encode_tags,
)

_M = TypeVar("_M", bound=In)


def read(kind: type[_M], **document: Any) -> _M:
    """A body from its JSON."""
    return kind.model_validate_json(json.dumps(document))


def tags(*keys: str) -> list[TagInput]:
    """Tags of these keys."""
    return [TagInput(key=key, value="v") for key in keys]


def test_tags_are_decoded_by_key_and_encoded_as_they_came() -> None:
    decoded = decode_tags([TagInput(key="a", value="1"), TagInput(key="b"), TagInput(key="c", value="")])
    assert decoded == {"a": "1", "b": None, "c": ""}
    assert encode_tags(decoded) == [{"key": "a", "value": "1"}, {"key": "b"}, {"key": "c", "value": ""}]
    assert decode_tags(None) == {}


def test_a_tag_that_came_twice_is_refused_by_index() -> None:
    with pytest.raises(InvalidParameterValue, match=r"^tags\[1\]\.key: 'a' came twice"):
        decode_tags(tags("a", "a"))


def test_fifty_tags_are_accepted_and_more_are_refused() -> None:
    names = [f"t{i}" for i in range(51)]
    assert len(decode_tags(tags(*names[:50]))) == 50
    with pytest.raises(InvalidParameterValue, match="at most 50"):
        decode_tags(tags(*names))


@pytest.mark.parametrize(
    ("patch", "after"),
    [
        ({}, {"a": "1", "b": None}),
        ({"add_tags": [{"key": "c"}]}, {"a": "1", "b": None, "c": None}),
        ({"add_tags": [{"key": "a", "value": "2"}]}, {"a": "2", "b": None}),
        ({"delete_tags": ["a", "nope"]}, {"b": None}),
        ({"delete_tags": ["a"], "add_tags": [{"key": "a", "value": "3"}]}, {"b": None, "a": "3"}),
    ],
)
def test_changes_of_tags(patch: dict[str, Any], after: dict[str, str | None]) -> None:
    before = {"a": "1", "b": None}
    assert changed_tags(before, read(PatchTags, **patch)) == after
    assert before == {"a": "1", "b": None}


def test_a_change_may_not_lead_to_more_than_fifty_tags() -> None:
    full: dict[str, str | None] = {f"t{i}": None for i in range(50)}
    swap = read(PatchTags, add_tags=[{"key": "new"}], delete_tags=["t0"])
    assert len(changed_tags(full, swap)) == 50
    with pytest.raises(InvalidParameterValue, match=r"^add_tags: the endpoint would have 51 tags"):
        changed_tags(full, read(PatchTags, add_tags=[{"key": "new"}]))


TABLE = {"enabled": True, "catalog_name": "c", "schema_name": "s", "table_name_prefix": "p"}


@pytest.mark.parametrize(
    ("document", "stored"),
    [
        ({}, {}),
        ({"usage_tracking_config": {"enabled": True}, "later": 1}, {"usage_tracking_config": {"enabled": True}}),
        ({"inference_table_config": TABLE}, {"inference_table_config": TABLE}),
        (
            {"inference_table_config": {"enabled": True, "catalog_name": "c", "schema_name": "s"}},
            {"inference_table_config": {**TABLE, "table_name_prefix": "feed-ads"}},
        ),
        (
            {"rate_limits": [{"calls": 3, "renewal_period": "minute"}]},
            {"rate_limits": [{"calls": 3, "key": "endpoint", "renewal_period": "minute"}]},
        ),
        (
            {"guardrails": {"input": {"pii": {"behavior": "MASK"}, "safety": False}}},
            {"guardrails": {"input": {"pii": {"behavior": "MASK"}, "safety": False}}},
        ),
    ],
)
def test_an_ai_gateway_is_stored_as_it_came(document: dict[str, Any], stored: dict[str, Any]) -> None:
    assert decode_ai_gateway(read(AiGatewayInput, **document), "feed-ads", {}) == stored


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ({}, "rate_limits[0]: got neither calls nor tokens"),
        ({"calls": 1, "key": "user_group"}, "rate_limits[0].principal: missing"),
        ({"calls": 1, "key": "service_principal", "principal": ""}, "rate_limits[0].principal: missing"),
        ({"calls": 1, "key": "endpoint", "principal": "ann"}, "rate_limits[0].principal: got 'ann'"),
    ],
)
def test_a_bad_limit_is_refused_by_field(limit: dict[str, Any], told: str) -> None:
    body = read(AiGatewayInput, rate_limits=[{"renewal_period": "minute", **limit}])
    with pytest.raises(InvalidParameterValue) as refused:
        decode_ai_gateway(body, "x", {})
    assert refused.value.message.startswith(told)


@pytest.mark.parametrize(
    ("before", "table", "told"),
    [
        ({}, {"enabled": True, "catalog_name": "a/b"}, "inference_table_config.catalog_name: got 'a/b'"),
        ({}, {"enabled": True, "schema_name": "a.b"}, "inference_table_config.schema_name: got 'a.b'"),
        ({}, {"catalog_name": "System"}, "inference_table_config.catalog_name: got 'System'"),
        (TABLE, {**TABLE, "catalog_name": "d"}, "inference_table_config.catalog_name: cannot change"),
        (TABLE, {**TABLE, "table_name_prefix": "q"}, "inference_table_config.table_name_prefix: cannot change"),
        (
            TABLE,
            {"enabled": True, "catalog_name": "c", "schema_name": "s"},
            "inference_table_config.table_name_prefix: cannot change",
        ),
    ],
    ids=[
        "bad catalog",
        "bad schema",
        "our own",
        "other catalog",
        "other prefix",
        "prefix left out, which would be another",
    ],
)
def test_an_inference_table_cannot_move_while_it_is_on(
    before: dict[str, Any], table: dict[str, Any], told: str
) -> None:
    body = read(AiGatewayInput, inference_table_config=table)
    with pytest.raises(InvalidParameterValue) as refused:
        decode_ai_gateway(body, "x", {"inference_table_config": before} if before else {})
    assert refused.value.message.startswith(told)


@pytest.mark.parametrize("before", [{**TABLE, "enabled": False}, {}])
def test_an_inference_table_that_is_off_may_be_set_anew(before: dict[str, Any]) -> None:
    other = {**TABLE, "catalog_name": "d"}
    stored = decode_ai_gateway(
        read(AiGatewayInput, inference_table_config=other), "x", {"inference_table_config": before}
    )
    assert stored == {"inference_table_config": other}


def test_p5_3_a_table_that_is_not_named_has_defaults() -> None:
    stored = decode_ai_gateway(read(AiGatewayInput, inference_table_config={"enabled": True}), "x", {})
    names = {"catalog_name": "main", "schema_name": "default", "table_name_prefix": "x"}
    assert stored == {"inference_table_config": {"enabled": True, **names}}


def test_p5_3_both_inference_tables_of_an_endpoint_cannot_be_one() -> None:
    body = read(AiGatewayInput, inference_table_config={"enabled": True})
    with pytest.raises(InvalidParameterValue, match="auto_capture_config"):
        decode_ai_gateway(body, "x", {}, AutoCapture("main", "default", "X"))
    decode_ai_gateway(body, "x", {}, AutoCapture("main", "default", "y"))


def test_telemetry_has_tables_or_a_profile() -> None:
    document: dict[str, Any] = {
        "enabled_telemetry_features": ["TELEMETRY_FEATURE_LOGS"],
        "table_names": {"logs_table": "a.b.c"},
        "inference_table_config": {"sampling_fraction": 0.5},
    }
    assert decode_telemetry(read(TelemetryInput, **document)) == document
    with pytest.raises(InvalidParameterValue, match="table_names and telemetry_profile_id came together"):
        decode_telemetry(read(TelemetryInput, **document, telemetry_profile_id="p"))


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (PatchTags, {"add_tags": [{"key": ""}]}, "add_tags[0].key: got '';"),
        (PutRateLimits, {"rate_limits": [{"calls": -1}]}, "rate_limits[0].calls: got -1;"),
        (PutRateLimits, {"rate_limits": [{"calls": "3"}]}, "rate_limits[0].calls: got '3';"),
        (PutRateLimits, {"rate_limits": [{"calls": 1, "key": "x"}]}, "rate_limits[0].key: got 'x';"),
        (AiGatewayInput, {"rate_limits": [{"calls": 1}]}, "rate_limits[0].renewal_period: missing; it is required."),
        (AiGatewayInput, {"usage_tracking_config": {}}, "usage_tracking_config.enabled: missing; it is required."),
        (
            TelemetryInput,
            {"enabled_telemetry_features": ["X"]},
            "enabled_telemetry_features[0]: got 'X';",
        ),
    ],
)
def test_a_field_of_the_wrong_form_is_refused_by_name(kind: type[In], document: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read(kind, **document)
    assert describe(refused.value).startswith(told)
