"""Secrets: which names and references there are, what fits into an environment, and what does not show itself."""

import pytest

from penstock.domain.access import ADMINS, Principal
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.secrets import (
    Plaintext,
    Reference,
    Sealed,
    SecretScope,
    check_entity_secrets,
    check_secret_name,
    check_secret_value,
    reference_in,
    variable_text,
)
from unit.builders import entity, live

AT = "served_entities[0].environment_vars.KEY"
REFERENCE = Reference("s", "k")


@pytest.mark.parametrize("name", ["a", "openai.key", "ann@example.com", "A_b-9", "..", "x" * 128])
def test_names_of_the_contract_are_accepted(name: str) -> None:
    check_secret_name("scope", name)
    assert reference_in(AT, f"{{{{secrets/{name}/{name}}}}}") == Reference(name, name)


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a/b", "é", "a\n", "{", "a" * 100_000])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidParameterValue, match=r"^key: got ") as refused:
        check_secret_name("key", name)
    assert len(refused.value.message) < 400
    with pytest.raises(InvalidParameterValue):
        reference_in(AT, f"{{{{secrets/s/{name}}}}}")


@pytest.mark.parametrize(
    "value",
    ["", "x", "{{secret/s/k}}", " {{secrets/s/k}}", "Bearer {{secrets/s/k}}", "{secrets/s/k}", "{{ secrets/s/k }}"],
)
def test_other_values_are_plain(value: str) -> None:
    assert reference_in(AT, value) is None


@pytest.mark.parametrize("value", ["{{secrets/", "{{secrets/s/k}}\n", "{{secrets/s/k}} and more", "{{secrets/s/k/x}}"])
def test_what_begins_like_a_reference_must_be_one(value: str) -> None:
    with pytest.raises(InvalidParameterValue, match=r"KEY: got '\{\{secrets/") as refused:
        reference_in(AT, value)
    assert "{{secrets/<scope>/<key>}}" in refused.value.message


def test_a_reference_reads_as_it_is_written() -> None:
    assert str(REFERENCE) == "{{secrets/s/k}}"
    assert reference_in(AT, str(REFERENCE)) == REFERENCE


def test_values_do_not_show_themselves() -> None:
    sealed = Sealed("v1", "cipher")
    endpoint = live(entity(sealed={"KEY": sealed}))
    for shown in (repr(Plaintext("canary")), f"{Plaintext('canary')}", repr({"a": Plaintext("canary")})):
        assert "canary" not in shown
    assert "cipher" not in repr(endpoint)
    assert Sealed("v1", "other") != sealed


def test_the_longest_value_that_fits_a_variable() -> None:
    longest = b"x" * ((128 << 10) - len("KEY=") - 1)
    assert variable_text(AT, REFERENCE, longest) == longest.decode()
    with pytest.raises(InvalidParameterValue, match=r"has 131068 bytes; .* at most 131067") as refused:
        variable_text(AT, REFERENCE, longest + b"y")
    assert "xy" not in refused.value.message


@pytest.mark.parametrize("value", [b"can\0ary", b"\xff", b"\xed\xa0\x80"])
def test_what_no_variable_can_hold(value: bytes) -> None:
    with pytest.raises(InvalidParameterValue, match="no environment variable can hold it"):
        variable_text(AT, REFERENCE, value)


def test_bounds_of_values() -> None:
    check_secret_value("string_value", b"x" * (128 << 10))
    with pytest.raises(InvalidParameterValue, match=r"^string_value: got 131073 bytes"):
        check_secret_value("string_value", b"x" * ((128 << 10) + 1))
    check_entity_secrets("f", {"A": "x" * (1 << 19), "B": "ü" * (1 << 18)})
    with pytest.raises(InvalidParameterValue, match=r"^f: .* 1048577 bytes together"):
        check_entity_secrets("f", {"A": "x" * (1 << 19), "B": "ü" * (1 << 18), "C": "x"})


@pytest.mark.parametrize(
    ("principal", "own", "shared"),
    [(Principal("ann"), True, True), (Principal("bob"), False, True), (Principal("bob", (ADMINS,)), True, True)],
)
def test_who_may_use_a_scope(principal: Principal, own: bool, shared: bool) -> None:
    assert SecretScope("s", "ann", is_shared=False).may_be_used_by(principal) is own
    assert SecretScope("s", "ann", is_shared=True).may_be_used_by(principal) is shared
