"""Endpoints in files: applied twice they change nothing, exported and applied they change nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.documents import read_documents, written
from penstock.domain.access import Grant, GranteeKind, Level
from penstock.domain.declaration import Deed, Plan, Section, plan_endpoint
from penstock.domain.endpoint import (
    Deployment,
    Endpoint,
    EndpointConfig,
    EntityStatus,
    begin_update,
    check_config,
    complete,
    fail,
    switch,
)
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.inference_log import AutoCapture
from penstock.domain.names import RESERVED_ENDPOINT_NAMES
from penstock.domain.served_entity import ModelVersion
from penstock.wire.declared import as_declared, decode_declared, sections_of
from penstock.wire.endpoint_settings import decode_ai_gateway, decode_tags, decode_telemetry
from penstock.wire.permissions import AccessControlList, decode_grants, encode_permissions
from penstock.wire.serving_endpoints import (
    CreateEndpoint,
    EndpointCoreConfigInput,
    decode_config,
    encode_config,
    encode_detailed,
)
from penstock.wire.unknown_keys import unknown_keys
from unit.builders import ENDPOINT_ID

VERSIONS = {("m", "champion"): "3", ("main.default.n", "champion"): "4"}

texts = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12)
names = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
some = st.none().__or__


@st.composite
def entities(draw: st.DrawFn) -> dict[str, Any]:
    sizing = draw(
        st.sampled_from(
            [
                {},
                {"workload_size": "Medium"},
                {"min_provisioned_concurrency": 8, "max_provisioned_concurrency": 16},
                {"max_provisioned_concurrency": 8},
            ]
        )
    )
    fields = {
        "entity_name": draw(st.sampled_from(["m", "main.default.n"])),
        "entity_version": draw(st.sampled_from(["1", 2, "@champion"])),
        "workload_type": draw(st.sampled_from([None, "CPU", "CPU_LARGE"])),
        "scale_to_zero_enabled": draw(some(st.booleans())),
        "environment_vars": draw(some(st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["", "1", "no"])))),
    }
    return {key: value for key, value in {**fields, **sizing}.items() if value is not None}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    listed = draw(st.lists(entities(), min_size=1, max_size=3))
    chosen = draw(st.lists(names, min_size=len(listed), max_size=len(listed), unique=True))
    if len(listed) == 1 and draw(st.booleans()):
        return {"served_entities": listed}
    named = [{**entity, "name": name} for entity, name in zip(listed, chosen, strict=True)]
    shares = [100 - 10 * (len(listed) - 1), *([10] * (len(listed) - 1))]
    routes = [
        {"served_entity_name": name, "traffic_percentage": share} for name, share in zip(chosen, shares, strict=True)
    ]
    return {"served_entities": named, "traffic_config": {"routes": draw(st.permutations(routes))}}


documents = st.fixed_dictionaries(
    {"name": names.filter(lambda name: name not in RESERVED_ENDPOINT_NAMES)},
    optional={
        "config": configs(),
        "tags": st.lists(
            st.fixed_dictionaries({"key": st.sampled_from(["a", "b.c", "d"])}, optional={"value": texts}),
            unique_by=lambda tag: tag["key"],
        ),
        "description": texts,
        "route_optimized": st.booleans(),
        "rate_limits": st.lists(
            st.fixed_dictionaries(
                {"calls": st.integers(0, 9)}, optional={"key": st.sampled_from(["user", "endpoint"])}
            ),
            max_size=2,
        ),
        "ai_gateway": st.fixed_dictionaries(
            {},
            optional={
                "usage_tracking_config": st.just({"enabled": True}),
                "inference_table_config": st.just({"enabled": True, "catalog_name": "c", "schema_name": "s"}),
            },
        ),
        "email_notifications": st.fixed_dictionaries({}, optional={"on_update_success": st.lists(texts, max_size=1)}),
        "telemetry_config": st.fixed_dictionaries(
            {}, optional={"inference_table_config": st.just({"sampling_fraction": 0.5})}
        ),
        "permissions": st.lists(
            st.tuples(st.sampled_from(["user_name", "group_name"]), names, st.sampled_from(["CAN_VIEW", "CAN_QUERY"])),
            unique_by=lambda grant: grant[:2],
        ).map(lambda grants: [{kind: name, "permission_level": level} for kind, name, level in grants]),
    },
)


def stored(document: dict[str, Any]) -> Endpoint:
    """The endpoint that the API makes of a create with this body, once it serves, and of the permissions put then."""
    body = CreateEndpoint.model_validate_json(json.dumps(document))
    grants = decode_grants(
        AccessControlList.model_validate_json(json.dumps({"access_control_list": document.get("permissions", [])}))
    )
    endpoint = Endpoint(
        id=ENDPOINT_ID,
        name=body.name,
        creator="me",
        created_at_ms=1,
        updated_at_ms=1,
        description=body.description or "",
        route_optimized=bool(body.route_optimized),
        tags=decode_tags(body.tags),
        email_notifications=body.email_notifications.document() if body.email_notifications else {},
        rate_limits=[limit.document() for limit in body.rate_limits or ()],
        ai_gateway=decode_ai_gateway(body.ai_gateway, body.name, {}) if body.ai_gateway else {},
        telemetry=decode_telemetry(body.telemetry_config) if body.telemetry_config else {},
        grants=grants or (Grant(GranteeKind.USER, "me", Level.CAN_MANAGE),),
    )
    return endpoint if body.config is None else complete(switch(updated(endpoint, body.config)))


def updated(endpoint: Endpoint, config: EndpointCoreConfigInput) -> Endpoint:
    request = decode_config(config)
    served = []
    for index, each in enumerate(request.entities):
        version = each.version or VERSIONS[(each.model_name, each.alias or "")]
        served.append(each.resolved(str(index), ModelVersion(each.model_name, version, 7), "me", 5))
    return begin_update(endpoint, served, check_config(served, request.routes_for(served)), 6)


def seen(endpoint: Endpoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `GET` tells of an endpoint and of its permissions."""
    status = EntityStatus(Deployment.READY)
    return encode_detailed(endpoint, True, lambda *_: status), encode_permissions(endpoint)


def planned(document: dict[str, Any], endpoint: Endpoint) -> Plan:
    """The plan for a file with this document."""
    wanted = decode_declared(document).sections(VERSIONS)
    return plan_endpoint(document["name"], wanted, sections_of(*seen(endpoint)))


@given(documents)
def test_p3_11_an_endpoint_that_was_applied_is_as_declared(document: dict[str, Any]) -> None:
    if document.get("permissions") == []:
        document.pop("permissions")  # nobody's: the API would refuse it
    assert planned(document, stored(document)) == Plan(document["name"], Deed.KEEP)


@given(documents)
def test_p3_11_what_is_exported_is_as_declared_also_through_yaml(document: dict[str, Any]) -> None:
    endpoint = stored(document)
    exported = as_declared(*seen(endpoint))
    assert planned(exported, endpoint).deed is Deed.KEEP
    (read,) = read_documents(written({"endpoints": [exported]}).encode(), "f")
    assert read.value == {"endpoints": [exported]}
    assert unknown_keys(CreateEndpoint, {key: value for key, value in exported.items() if key != "permissions"}) == []


@given(documents, documents)
def test_p3_11_whatever_was_there_once_applied_it_is_as_declared(
    before: dict[str, Any], wanted: dict[str, Any]
) -> None:
    wanted = {**wanted, "name": before["name"]}
    there = stored(before)
    plan = planned(wanted, there)
    there_now, then = stored({**before, **wanted}), {change.section for change in plan.changes}
    for section in Section:
        was, now = (sections_of(*seen(each)).get(section) for each in (there, there_now))
        assert (section in then) == (was != now) or plan.deed is Deed.REFUSE or section is Section.PERMISSIONS


E = {"entity_name": "m", "entity_version": "1"}


def test_an_update_on_its_way_counts_and_one_that_failed_does_not() -> None:
    first = {"name": "x", "config": {"served_entities": [E]}}
    second = {"name": "x", "served_entities": [{**E, "entity_version": 2}]}
    serving = stored(first)
    body = EndpointCoreConfigInput(served_entities=second["served_entities"])
    updating = updated(serving, body)
    assert planned(second, updating).deed is Deed.KEEP
    assert planned(first, updating).deed is Deed.CHANGE
    failed = fail(updating, {"m-2": "it broke"})
    assert planned(second, failed).deed is Deed.CHANGE, "it is tried again"
    assert planned(first, failed).deed is Deed.KEEP
    never_served = fail(updated(replace(serving, active=None), body), {"m-2": "it broke"})
    assert as_declared(*seen(never_served))["config"]["served_entities"][0]["entity_version"] == "2"


def test_an_alias_is_nothing_to_do_while_its_version_serves() -> None:
    there = stored({"name": "x", "config": {"served_entities": [{**E, "entity_version": "3"}]}})
    by_alias = {"name": "x", "config": {"served_entities": [{**E, "entity_version": "@champion"}]}}
    assert planned(by_alias, there).deed is Deed.KEEP
    wanted = decode_declared(by_alias)
    assert wanted.aliases == {("m", "champion")}
    moved = plan_endpoint("x", wanted.sections({("m", "champion"): "4"}), sections_of(*seen(there)))
    assert moved.deed is Deed.CHANGE
    unknown = wanted.sections({("m", "champion"): None})
    assert plan_endpoint("x", {**unknown}, sections_of(*seen(there))).deed is Deed.CHANGE


def test_an_alias_that_is_followed_counts_itself_and_not_the_version_of_the_moment() -> None:
    followed = {**E, "entity_version": "@champion", "follow_alias": True}
    document = {"name": "x", "config": {"served_entities": [followed]}}
    there = stored(document)
    wanted, seen_now = decode_declared(document), sections_of(*seen(there))
    for version in ("3", "4", None):  # None: it leads nowhere yet
        sections = wanted.sections({("m", "champion"): version})
        assert plan_endpoint("x", sections, seen_now).deed is Deed.KEEP
    exported = as_declared(*seen(there))
    assert exported["config"]["served_entities"][0]["entity_version"] == "@champion"
    assert planned(exported, there).deed is Deed.KEEP
    pinned = {"name": "x", "config": {"served_entities": [{**E, "entity_version": "3", "name": "m-champion"}]}}
    changes = planned(pinned, there).changes[0].differences
    assert {change.path.rsplit(".", 1)[-1] for change in changes} == {"entity_version", "follow_alias"}


def test_a_key_in_clear_is_refused_in_a_file_and_its_config_is_not_exported() -> None:
    settings = {"openai_api_key_plaintext": "sk-1"}
    model = {"provider": "openai", "name": "gpt", "task": "llm/v1/chat", "openai_config": settings}
    with pytest.raises(
        InvalidParameterValue, match=r"^config\.served_entities\[0\]\.external_model\.openai_config"
    ) as e:
        decode_declared({"name": "x", "config": {"served_entities": [{"external_model": model}]}})
    assert "sk-1" not in str(e.value)
    body = EndpointCoreConfigInput(served_entities=[{"external_model": model}])
    request = decode_config(body)
    served = [each.resolved("1", None, "me", 5) for each in request.entities]
    config = EndpointConfig(1, tuple(served), check_config(served, ()))
    there = replace(stored({"name": "x"}), active=config)
    assert encode_config(config, lambda *_: EntityStatus(Deployment.READY))["served_entities"]
    assert as_declared(*seen(there)) == {
        "name": "x",
        "permissions": [{"user_name": "me", "permission_level": "CAN_MANAGE"}],
    }


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "name: missing"),
        ({"name": "a/b"}, "name: got"),
        ({"name": "x", "config": {"served_entities": [E]}, "served_entities": [E]}, "config: came together"),
        ({"name": "x", "permissions": [{"permission_level": "CAN_VIEW"}]}, "permissions[0]: got 0 grantees"),
        (
            {"name": "x", "permissions": [{"user_name": "a", "permission_level": "ALL"}]},
            "permissions[0].permission_level",
        ),
        ({"name": "x", "config": {"served_entities": [{**E, "entity_version": True}]}}, "config.served_entities[0]"),
        ({"name": "x", "tags": [{"key": "a"}, {"key": "a"}]}, "tags[1].key: 'a' came twice"),
    ],
)
def test_refusals_begin_with_the_path(document: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        decode_declared(document)
    assert str(refused.value).startswith(told)


def test_p5_3_a_table_that_a_file_does_not_mention_is_left_alone_and_one_that_it_does_counts() -> None:
    capture = AutoCapture("main", "default", "x")
    there = replace(stored({"name": "x", "config": {"served_entities": [E]}}), auto_capture=capture)

    def changes(config: dict[str, Any]) -> tuple[str, ...]:
        plan = planned({"name": "x", "config": {"served_entities": [E], **config}}, there)
        return tuple(one.path for change in plan.changes for one in change.differences)

    assert changes({}) == ()
    assert changes({"auto_capture_config": {"enabled": True}}) == ()
    assert changes({"auto_capture_config": {"enabled": False}}) == ("config.auto_capture_config.enabled",)
    exported = as_declared(*seen(there))["config"]["auto_capture_config"]
    assert exported == {
        "catalog_name": "main",
        "schema_name": "default",
        "table_name_prefix": "x",
        "enabled": True,
    }
