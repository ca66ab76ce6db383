"""Serving endpoints in JSON: what is decoded, what is refused by field, and golden answers."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.domain.endpoint import Endpoint, fail, stop
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.served_entity import ModelVersion
from penstock.domain.sizing import Sizing, WorkloadSize, WorkloadType
from penstock.domain.traffic import Route
from penstock.wire.body import describe
from penstock.wire.serving_endpoints import (
    CreateEndpoint,
    EndpointCoreConfigInput,
    decode_config,
    encode_detailed,
    encode_summary,
)
from unit.builders import CHECK, ENDPOINT_ID, empty_endpoint, entity, live, replicas, status_from, updating


def decoded(**config: Any) -> Any:
    """A config from its JSON, as the API decodes it."""
    return decode_config(EndpointCoreConfigInput.model_validate_json(json.dumps(config)), "config.")


def refusal(document: object) -> str:
    """What a create with this body is refused with."""
    with pytest.raises(ValidationError) as refused:
        CreateEndpoint.model_validate_json(document if isinstance(document, bytes) else json.dumps(document))
    return describe(refused.value)


E = {"entity_name": "m", "entity_version": "1"}


def test_defaults_of_an_entity() -> None:
    (request,) = decoded(served_entities=[E]).entities
    assert (request.model_name, request.version, request.alias, request.name) == ("m", "1", None, None)
    assert request.sizing == Sizing(WorkloadSize.SMALL, WorkloadType.CPU, scale_to_zero=False)
    assert request.environment == {}
    served = request.resolved("2" * 32, ModelVersion("main.default.m", "1", 5), "me", 7)
    assert served.name == "m-1"
    assert (served.id, served.creator, served.created_at_ms) == ("2" * 32, "me", 7)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"name": "mine", "workload_size": "Medium", "scale_to_zero_enabled": True},
        {"min_provisioned_concurrency": 8, "max_provisioned_concurrency": 16, "workload_type": "CPU_LARGE"},
        {"environment_vars": {"A": "1"}, "instance_profile_arn": "arn:x"},
        {"traffic_percentage": 100},
    ],
)
def test_served_models_mean_the_same_as_served_entities(extra: dict[str, Any]) -> None:
    new = decoded(served_entities=[{**E, **extra}])
    old = decoded(served_models=[{"model_name": "m", "model_version": "1", **extra}])
    assert new.percentages == old.percentages
    ids = "2" * 32, ModelVersion("m", "1"), "me", 7
    assert new.entities[0].resolved(*ids) == old.entities[0].resolved(*ids)


@pytest.mark.parametrize(
    ("version", "number", "alias"), [("3", "3", None), (3, "3", None), ("@champion", None, "champion")]
)
def test_a_version_is_a_number_or_an_alias(version: object, number: str | None, alias: str | None) -> None:
    (request,) = decoded(served_entities=[{"entity_name": "m", "entity_version": version}]).entities
    assert (request.version, request.alias) == (number, alias)


@pytest.mark.parametrize(
    "given",
    [
        {"entity_version": "@champion"},
        {"entity_version": "3", "entity_alias": "champion"},
        {"entity_version": 3, "entity_alias": "champion"},
        {"entity_version": "@champion", "entity_alias": "champion"},
        {"entity_alias": "champion"},
    ],
)
def test_an_alias_to_follow_comes_as_it_is_asked_for_or_as_it_is_told(given: dict[str, Any]) -> None:
    (request,) = decoded(served_entities=[{"entity_name": "a.b.m", "follow_alias": True, **given}]).entities
    assert (request.version, request.alias, request.follow_alias) == (None, "champion", True)
    served = request.resolved("2" * 32, ModelVersion("a.b.m", "3", 5), "me", 7)
    assert (served.name, served.alias, served.follow_alias) == ("m-champion", "champion", True)


def test_without_the_field_an_alias_is_not_followed() -> None:
    told = {"entity_name": "m", "entity_version": "3", "entity_alias": "champion"}
    (request,) = decoded(served_entities=[told]).entities
    assert (request.version, request.alias, request.follow_alias) == ("3", None, False)


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        ({"entity_version": "3"}, "follow_alias: came with version '3'"),
        ({"entity_version": "@v1"}, "entity_version: got the alias 'v1'"),
        ({"entity_version": "@a b"}, "entity_version: got the alias 'a b'"),
        ({"entity_version": "@"}, "without the name of an alias"),
        ({"entity_version": "@a", "entity_alias": "b"}, "name two aliases"),
        ({}, "entity_version"),
    ],
)
def test_what_cannot_be_followed_is_refused(given: dict[str, Any], fragment: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        decoded(served_entities=[{"entity_name": "m", "follow_alias": True, **given}])
    assert "config.served_entities[0]" in str(refused.value)
    assert fragment in str(refused.value)


def test_an_external_model_follows_nothing() -> None:
    external = {"provider": "openai", "name": "x", "task": "llm/v1/chat", "openai_config": {}}
    with pytest.raises(InvalidParameterValue, match="no alias to follow"):
        decoded(served_entities=[{"external_model": external, "follow_alias": True}])


def test_what_waits_for_its_model_says_so() -> None:
    waiting = updating(empty_endpoint(), entity("", name="e", alias="champion", follow_alias=True), entity("1"),
                       routes=(Route("e", 50), Route("m-1", 50)))  # fmt: skip
    document = encode_detailed(waiting, is_ready=False, status_of=status_from(waiting, []))
    assert document["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS", "suspend": "NOT_SUSPENDED"}
    first, second = document["pending_config"]["served_entities"]
    assert (first["entity_name"], first["entity_alias"], first["follow_alias"]) == ("m", "champion", True)
    assert "entity_version" not in first
    assert first["state"]["deployment"] == second["state"]["deployment"] == "DEPLOYMENT_CREATING"
    assert first["state"]["deployment_state_message"] == "Waits for model 'm' alias 'champion'."
    assert "every served entity" in second["state"]["deployment_state_message"]


def test_both_names_of_a_route_are_read() -> None:
    routes = [
        {"served_model_name": "a", "traffic_percentage": 40},
        {"served_entity_name": "b", "traffic_percentage": 50},
        {"served_entity_name": "c", "served_model_name": "c", "traffic_percentage": 10},
    ]
    assert decoded(traffic_config={"routes": routes}).routes == (Route("a", 40), Route("b", 50), Route("c", 10))


def test_shares_inside_the_entities_make_routes_once_the_entities_have_names() -> None:
    request = decoded(served_entities=[{**E, "traffic_percentage": 90}, {**E, "name": "b", "traffic_percentage": 10}])
    served = [e.resolved("2" * 32, ModelVersion("m", "1"), "me", 7) for e in request.entities]
    assert request.routes_for(served) == (Route("m-1", 90), Route("b", 10))


def test_unknown_fields_are_ignored_at_every_level() -> None:
    route = {"served_entity_name": "m-1", "traffic_percentage": 100, "later": 1}
    document = {
        "name": "x",
        "ai_gateway": {"usage_tracking_config": {"enabled": True}},
        "config": {
            "name": "x",
            "served_entities": [{**E, "burst_scaling_enabled": True, "later": [1]}],
            "traffic_config": {"routes": [route], "later": {}},
        },
        "tags": [{"key": "k", "later": 1}],
    }
    body = CreateEndpoint.model_validate_json(json.dumps(document))
    assert body.config is not None
    assert decode_config(body.config).routes == (Route("m-1", 100),)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"served_entities": [E], "served_models": [E]}, "config.served_entities and config.served_models came"),
        ({"served_entities": [{}]}, "config.served_entities[0]: wanted entity_name or model_name; got none"),
        ({"served_models": [{"model_name": "m"}]}, "config.served_models[0]: wanted entity_version or model_version"),
        ({"served_entities": [E, {**E, "model_name": "n"}]}, "config.served_entities[1]: wanted entity_name"),
        ({"served_entities": [{**E, "entity_version": ""}]}, "config.served_entities[0]: wanted entity_version"),
        ({"served_entities": [{**E, "entity_version": "latest"}]}, "config.served_entities[0].entity_version: got 'la"),
        ({"served_entities": [{**E, "entity_version": "-1"}]}, "config.served_entities[0].entity_version: got '-1'"),
        ({"served_entities": [{**E, "entity_version": "²"}]}, "config.served_entities[0].entity_version: got '²'"),
        ({"served_entities": [{**E, "entity_version": "@"}]}, "config.served_entities[0].entity_version: got '@'"),
        ({"served_entities": [{**E, "name": "a b"}]}, "config.served_entities[0].name: got 'a b'"),
        ({"served_entities": [{**E, "workload_size": "Big"}]}, "config.served_entities[0].workload_size: got 'Big'"),
        ({"served_entities": [{**E, "external_model": {}}]}, "config.served_entities[0].external_model"),
        (
            {"served_entities": [{**E, "environment_vars": {f"A{i}": "" for i in range(31)}}]},
            "config.served_entities[0].environment_vars: got 31 variables; wanted at most 30",
        ),
        (
            {"served_entities": [{**E, "environment_vars": {"A B": "1"}}]},
            "config.served_entities[0].environment_vars: got the name 'A B'",
        ),
        (
            {"served_entities": [{**E, "environment_vars": {"A": "{{secrets/s}}"}}]},
            "config.served_entities[0].environment_vars.A: got '{{secrets/s}}'; wanted {{secrets/<scope>/<key>}}",
        ),
        (
            {"served_entities": [{**E, "environment_vars": {"PENSTOCK_REQUEST_TIMEOUT_S": "nan"}}]},
            "environment_vars.PENSTOCK_REQUEST_TIMEOUT_S: got 'nan'; wanted a number from 0.1 to 3600",
        ),
        (
            {"served_entities": [{**E, "environment_vars": {"PENSTOCK_MEMORY_LIMIT_MB": "4 GB"}}]},
            "environment_vars.PENSTOCK_MEMORY_LIMIT_MB: got '4 GB'; wanted a number from 64 to 16777216",
        ),
        (
            {"served_entities": [{**E, "environment_vars": {"PENSTOCK_QUEUE_SIZE": "1.5"}}]},
            "environment_vars.PENSTOCK_QUEUE_SIZE: got '1.5'; wanted a",
        ),
        (
            {"traffic_config": {"routes": [{"traffic_percentage": 100}]}},
            "config.traffic_config.routes[0]: got 0 different names",
        ),
        (
            {
                "traffic_config": {
                    "routes": [{"served_model_name": "a", "served_entity_name": "b", "traffic_percentage": 100}]
                }
            },
            "config.traffic_config.routes[0]: got 2 different names",
        ),
        (
            {"served_entities": [{**E, "traffic_percentage": 50}, E]},
            "config.served_entities[1].traffic_percentage: missing",
        ),
        (
            {
                "served_entities": [{**E, "traffic_percentage": 100}],
                "traffic_config": {"routes": [{"served_entity_name": "m-1", "traffic_percentage": 100}]},
            },
            "config.traffic_config and config.served_entities[].traffic_percentage came together",
        ),
    ],
)
def test_a_bad_config_is_refused_by_field(config: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        decoded(**config)
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "name: missing; it is required."),
        ({"name": 5}, "name: got 5;"),
        ({"name": "x", "config": []}, "config: got [];"),
        ({"name": "x", "config": ["a", "b"]}, "config: got a list of 2;"),
        (
            {"name": "x", "config": {"served_entities": {"a": 1}}},
            "config.served_entities: got an object of 1 field(s);",
        ),
        ({"name": "x", "config": {"served_entities": {}}}, "config.served_entities: got {};"),
        (
            {"name": "x", "config": {"served_entities": [E, {**E, "entity_version": 1.5}]}},
            "config.served_entities[1].entity_version: got 1.5;",
        ),
        (
            {"name": "x", "config": {"served_entities": [{**E, "scale_to_zero_enabled": "true"}]}},
            "config.served_entities[0].scale_to_zero_enabled: got 'true';",
        ),
        (
            {"name": "x", "config": {"served_entities": [{**E, "environment_vars": {"A": 1}}]}},
            "config.served_entities[0].environment_vars.A: got a value of type int, which is not shown;",
        ),
        (
            {"name": "x", "config": {"traffic_config": {"routes": [{"traffic_percentage": "100"}]}}},
            "config.traffic_config.routes[0].traffic_percentage: got '100';",
        ),
        (
            {"name": "x", "config": {"traffic_config": {"routes": [{"served_model_name": "a"}]}}},
            "config.traffic_config.routes[0].traffic_percentage: missing; it is required.",
        ),
        ({"name": "x", "tags": [{"value": "v"}]}, "tags[0].key: missing; it is required."),
        ({"name": "x", "route_optimized": 1}, "route_optimized: got 1;"),
        (b"[]", "The body: got "),
        (b'{"name": ', "The body is not valid JSON: "),
        (b"", "The body is not valid JSON: "),
        (b"\xff", "The body is not valid JSON: "),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(body: object, told: str) -> None:
    assert refusal(body).startswith(told)


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(refusal({"name": ["x" * 10_000]})) < 200


def detailed(endpoint: Endpoint, seen: list[Replica], *, is_ready: bool) -> dict[str, Any]:
    """The JSON of an endpoint, once through text."""
    document: dict[str, Any] = json.loads(json.dumps(encode_detailed(endpoint, is_ready, status_from(endpoint, seen))))
    return document


def head(ready: str, update: str, suspend: str = "NOT_SUSPENDED", updated: int = 2000) -> dict[str, Any]:
    """What every answer about the endpoint begins and ends with."""
    return {
        "name": "x",
        "id": ENDPOINT_ID,
        "creator": "me",
        "creation_timestamp": 1000,
        "last_updated_timestamp": updated,
        "state": {"ready": ready, "config_update": update, "suspend": suspend},
        "tags": [],
        "description": "",
        "route_optimized": False,
        "permission_level": "CAN_MANAGE",
    }


def config_of(number: str, config_version: int, deployment: str, message: str = "", **counts: int) -> dict[str, Any]:
    """The JSON of a config with one entity of default size."""
    shared = {
        "name": f"m-{number}",
        "workload_type": "CPU",
        "workload_size": "Small",
        "scale_to_zero_enabled": False,
        "creator": "",
        "creation_timestamp": 0,
        "state": {
            "deployment": deployment,
            "deployment_state_message": message,
            "replicas": {"ready": 0, "starting": 0, "draining": 0, **counts},
        },
    }
    name = f"m-{number}"
    return {
        "served_entities": [{**shared, "entity_name": "m", "entity_version": number}],
        "served_models": [{**shared, "model_name": "m", "model_version": number}],
        "traffic_config": {
            "routes": [{"served_model_name": name, "served_entity_name": name, "traffic_percentage": 100}]
        },
        "config_version": config_version,
    }


LIVE = live(entity("1"))
UPDATING = updating(LIVE, entity("2"), now_ms=3000)
OLD = replicas(LIVE, LIVE.active)
CREATING = "Creating resources for served entity."


def test_golden_endpoint_without_config() -> None:
    assert detailed(empty_endpoint(), [], is_ready=False) == head("NOT_READY", "NOT_UPDATING", updated=1000)


def test_golden_endpoint_that_was_just_created() -> None:
    endpoint = updating(empty_endpoint(), entity("1"))
    seen = replicas(endpoint, endpoint.pending, ReplicaState.STARTING)
    pending = config_of("1", 1, "DEPLOYMENT_CREATING", CREATING, starting=1)
    assert detailed(endpoint, seen, is_ready=False) == {
        **head("NOT_READY", "IN_PROGRESS"),
        "pending_config": {**pending, "start_time": 2000},
    }


def test_golden_live_endpoint() -> None:
    assert detailed(LIVE, OLD, is_ready=True) == {
        **head("READY", "NOT_UPDATING"),
        "config": config_of("1", 1, "DEPLOYMENT_READY", ready=1),
    }


def test_golden_endpoint_that_is_being_updated() -> None:
    assert detailed(UPDATING, OLD, is_ready=True) == {
        **head("READY", "IN_PROGRESS", updated=3000),
        "config": config_of("1", 1, "DEPLOYMENT_READY", ready=1),
        "pending_config": {**config_of("2", 2, "DEPLOYMENT_CREATING", CREATING), "start_time": 3000},
    }


def test_golden_endpoint_whose_update_failed() -> None:
    assert detailed(fail(UPDATING, {"m-2": "ValueError: boom"}), OLD, is_ready=True) == {
        **head("READY", "UPDATE_FAILED", updated=3000),
        "config": config_of("1", 1, "DEPLOYMENT_READY", ready=1),
        "pending_config": {**config_of("2", 2, "DEPLOYMENT_FAILED", "ValueError: boom"), "start_time": 3000},
    }


def test_golden_stopped_endpoint() -> None:
    assert detailed(stop(LIVE, 4000), [], is_ready=False) == {
        **head("NOT_READY", "NOT_UPDATING", "STOPPED", updated=4000),
        "config": config_of("1", 1, "DEPLOYMENT_ABORTED", "The endpoint is stopped."),
    }


def test_everything_optional_is_echoed() -> None:
    sizing = Sizing(None, WorkloadType.CPU_LARGE, True, 8, 16)
    served = entity(
        "1", sizing=sizing, environment={"A": "1"}, instance_profile_arn="arn:x", alias="champion", creator="ann"
    )
    endpoint = replace(
        live(served),
        description="what it does",
        tags={"team": "a", "bare": None},
        budget_policy_id="b1",
        email_notifications={"on_update_failure": ["a@b"]},
        route_optimized=True,
    )
    document = detailed(endpoint, [], is_ready=False)
    assert document["description"] == "what it does"
    assert document["tags"] == [{"key": "team", "value": "a"}, {"key": "bare"}]
    assert document["budget_policy_id"] == "b1"
    assert document["email_notifications"] == {"on_update_failure": ["a@b"]}
    assert document["route_optimized"] is True
    (shown,) = document["config"]["served_entities"]
    assert shown["environment_vars"] == {"A": "1"}
    assert shown["instance_profile_arn"] == "arn:x"
    assert shown["creator"] == "ann"
    assert (shown["min_provisioned_concurrency"], shown["max_provisioned_concurrency"]) == (8, 16)
    assert "workload_size" not in shown
    assert (shown["workload_type"], shown["scale_to_zero_enabled"]) == ("CPU_LARGE", True)


def test_what_is_answered_can_be_sent_back_and_means_the_same() -> None:
    sizing = Sizing(WorkloadSize.MEDIUM, scale_to_zero=True)
    served = entity("1", sizing=sizing, environment={"A": "1"}, instance_profile_arn="arn:x")
    endpoint = live(served, entity("2"), routes=(Route("m-1", 90), Route("m-2", 10)))
    config = detailed(endpoint, [], is_ready=False)["config"]
    for key in ("served_entities", "served_models"):
        request = decoded(**{key: config[key], "traffic_config": config["traffic_config"]})
        first = request.entities[0].resolved(served.id, served.model, "", 0)
        assert first == served
        assert request.routes == (Route("m-1", 90), Route("m-2", 10))


SUMMARY_LACKS = {"route_optimized", "permission_level"}


def test_a_list_item_is_a_summary() -> None:
    head_only = {k: v for k, v in head("READY", "IN_PROGRESS", updated=3000).items() if k not in SUMMARY_LACKS}
    assert encode_summary(UPDATING, True) == {
        **head_only,
        "config": {
            "served_entities": [{"name": "m-1", "entity_name": "m", "entity_version": "1"}],
            "served_models": [{"name": "m-1", "model_name": "m", "model_version": "1"}],
        },
    }


def test_the_check_of_a_model_stands_in_the_state_of_its_entity() -> None:
    endpoint = live()
    status_of = status_from(endpoint, replicas(endpoint, endpoint.active, check=CHECK))
    (served,) = encode_detailed(endpoint, True, status_of)["config"]["served_entities"]
    assert served["state"]["check"] == {
        "sample": "answered",
        "sample_ms": 1.5,
        "load_s": 0.25,
        "memory_bytes": None,
        "peak_memory_bytes": None,
        "executor": "process",
        "is_forked": False,
        "environment": {"manager": "local", "python": "3.11.9", "mlflow": "3.4.0"},
        "problems": [],
    }
    (served,) = encode_detailed(endpoint, True, status_from(endpoint, []))["config"]["served_entities"]
    assert "check" not in served["state"]
