"""Names: what is accepted, and what a refusal says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.names import (
    RESERVED_ENDPOINT_NAMES,
    check_endpoint_name,
    check_environment_variable,
    check_group_name,
    check_principal_name,
    check_served_entity_name,
    default_entity_name,
)


@pytest.mark.parametrize("name", ["a", "feed-ads", "A_b-9", "9", "x" * 63, "my-databricks-model"])
def test_endpoint_names_of_the_contract_are_accepted(name: str) -> None:
    check_endpoint_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 64, "bad name!", "-a", "a-", "_a", "a.b", "a/b", "a\n", "é", "..", "databricks-x", "a%2Fb"],
)
def test_other_endpoint_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterValue, match=r"^name: got "):
        check_endpoint_name(name)


@pytest.mark.parametrize("name", sorted(RESERVED_ENDPOINT_NAMES))
def test_an_endpoint_cannot_be_named_like_a_route(name: str) -> None:
    with pytest.raises(InvalidParameterValue, match="name of a route"):
        check_endpoint_name(name)


def test_a_very_long_name_is_not_repeated_whole_in_its_refusal() -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        check_endpoint_name("n" * 100_000)
    assert len(refused.value.message) < 400


@settings(deadline=None, derandomize=True)
@given(st.text(max_size=70))
def test_an_accepted_endpoint_name_is_safe_in_a_path_and_in_a_url(name: str) -> None:
    try:
        check_endpoint_name(name)
    except InvalidParameterValue:
        return
    assert name.isascii()
    assert not set(name) & set("/.%?# \n\0")


@pytest.mark.parametrize("name", ["m-1", "a.b", "_a_", "x" * 63, "1"])
def test_served_entity_names_are_accepted(name: str) -> None:
    check_served_entity_name("served_entities[0].name", name)


@pytest.mark.parametrize("name", ["", ".", "..", "a.", ".a", "-a", "a/b", "a b", "x" * 64, "a\n"])
def test_other_served_entity_names_are_refused_by_field(name: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        check_served_entity_name("served_entities[2].name", name)
    assert refused.value.message.startswith("served_entities[2].name: got ")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("1A", "x", "env: got the name '1A'"),
        ("A-B", "x", "env: got the name 'A-B'"),
        ("", "x", "env: got the name ''"),
        ("A=B", "x", "env: got the name 'A=B'"),
        ("A", "x\0y", "env.A: the value holds a NUL"),
    ],
)
def test_what_cannot_stand_in_an_environment_is_refused(name: str, value: str, told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        check_environment_variable("env", name, value)
    assert told in refused.value.message


@pytest.mark.parametrize(("name", "value"), [("A", ""), ("_a9", "x=y\nz"), ("PATH", "é")])
def test_what_can_stand_in_an_environment_is_accepted(name: str, value: str) -> None:
    check_environment_variable("env", name, value)


@pytest.mark.parametrize(
    ("model", "version", "name"), [("m", "1", "m-1"), ("main.default.m", "12", "m-12"), ("a-b", "2", "a-b-2")]
)
def test_an_entity_is_named_after_its_model_by_default(model: str, version: str, name: str) -> None:
    assert default_entity_name(model, version) == name


@pytest.mark.parametrize("name", ["ann@example.com", "a b", "x" * 256, "svc-1", "3f2a", "O'Neil", "..a"])
def test_names_of_principals_are_text(name: str) -> None:
    check_principal_name("user", name)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../x", "/etc/passwd", "a\\b", "%2e%2e", "models:/m/1", "a\0b", "a\nb", "x" * 257]
)
def test_names_of_principals_and_groups_are_no_paths(name: str) -> None:
    for check in (check_principal_name, check_group_name):
        with pytest.raises(InvalidParameterValue, match=r"^user: got "):
            check("user", name)


def test_a_group_may_have_a_name_beyond_ascii_and_a_principal_may_not() -> None:
    check_group_name("groups[0]", "Führung")
    with pytest.raises(InvalidParameterValue, match="ASCII"):
        check_principal_name("user", "Jörg")
