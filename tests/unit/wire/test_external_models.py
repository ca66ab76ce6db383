"""External models as they come: what each provider needs, and that no key is ever shown."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.secrets import Plaintext
from penstock.wire.external_models import PROVIDERS, Decoded, Provider, decode_external_model, encode_external_model

CANARY = "sk-canary-0123456789"
REFERENCE = "{{secrets/keys/one}}"
AT = "config.served_entities[0].external_model"


def path_of(provider: Provider) -> str:
    """Where the settings of a provider are, as a message names it."""
    return f"{AT}.{provider.config}"


def minimal(provider: Provider) -> dict[str, Any]:
    """Settings that hold no more than they must."""
    config: dict[str, Any] = {name: f"my-{name}" for name in provider.required}
    for name in provider.one_of[:1]:
        config[name] = REFERENCE if name in provider.keys else f"my-{name}"
    return config


def external(provider_name: str, config: Any, **fields: Any) -> dict[str, Any]:
    """An external model with these settings."""
    provider = PROVIDERS[provider_name]
    return {"provider": provider_name, "name": "gpt", "task": provider.tasks[0], provider.config: config, **fields}


def decode(given: dict[str, Any]) -> Decoded:
    """What becomes of it."""
    return decode_external_model(given, AT)


def refusal(given: dict[str, Any]) -> str:
    """Why it is refused."""
    with pytest.raises(InvalidParameterValue) as raised:
        decode(given)
    return raised.value.message


def settings_of() -> list[Any]:
    """Every provider's settings and the settings within them, with a way to make an external model of given ones."""
    found = []
    for name, provider in PROVIDERS.items():
        found.append(pytest.param(name, provider, None, id=name))
        found += [
            pytest.param(name, inner, inner.config, id=f"{name}.{inner.config}") for inner in provider.nested.values()
        ]
    return found


EVERY = pytest.mark.parametrize(("name", "provider", "within"), settings_of())


def with_settings(name: str, within: str | None, config: dict[str, Any]) -> dict[str, Any]:
    """An external model with these settings, or with these settings within its own."""
    return external(name, config if within is None else {**minimal(PROVIDERS[name]), within: config})


def place_of(name: str, within: str | None) -> str:
    """How a message names these settings."""
    return path_of(PROVIDERS[name]) + ("" if within is None else f".{within}")


@EVERY
def test_what_a_provider_must_have_is_enough(name: str, provider: Provider, within: str | None) -> None:
    given = with_settings(name, within, minimal(provider))
    decoded = decode(given)
    assert encode_external_model(decoded.model) == given
    assert decoded.plaintexts == {}


@EVERY
def test_a_required_field_that_is_missing_or_null_is_named(name: str, provider: Provider, within: str | None) -> None:
    for field in provider.required:
        for config in ({**minimal(provider), field: None}, {k: v for k, v in minimal(provider).items() if k != field}):
            assert (
                refusal(with_settings(name, within, config))
                == f"{place_of(name, within)}.{field}: missing; it is required."
            )


@EVERY
def test_one_of_the_ways_to_prove_who_one_is_is_needed(name: str, provider: Provider, within: str | None) -> None:
    if not provider.one_of:
        assert provider.nested, "then they are in the settings within"
        return
    bare = {field: value for field, value in minimal(provider).items() if field not in provider.one_of}
    message = refusal(with_settings(name, within, bare))
    assert message == f"{place_of(name, within)}: wanted one of {', '.join(provider.one_of)}; got none."
    for field in provider.one_of:
        decode(with_settings(name, within, {**bare, field: REFERENCE}))
        if field in provider.keys:
            decode(with_settings(name, within, {**bare, f"{field}_plaintext": CANARY}))


@EVERY
def test_a_key_comes_as_a_reference_or_in_clear_and_not_as_both(
    name: str, provider: Provider, within: str | None
) -> None:
    for field in provider.keys:
        path = field if within is None else f"{within}.{field}"
        rest = {key: value for key, value in minimal(provider).items() if key != field}
        if provider.one_of[0] != field:
            rest |= {provider.one_of[0]: REFERENCE}
        referred = decode(with_settings(name, within, {**rest, field: REFERENCE}))
        assert referred.references[path] == REFERENCE
        assert path not in referred.plaintexts
        clear = decode(with_settings(name, within, {**rest, f"{field}_plaintext": CANARY}))
        assert clear.plaintexts == {path: Plaintext(CANARY)}
        assert path not in clear.references
        both = refusal(with_settings(name, within, {**rest, field: REFERENCE, f"{field}_plaintext": CANARY}))
        assert both == f"{place_of(name, within)}.{field}: came together with {field}_plaintext; give one."


@EVERY
def test_a_key_in_clear_in_place_of_a_reference_is_refused_and_not_shown(
    name: str, provider: Provider, within: str | None
) -> None:
    for field in provider.keys:
        for wrong in (CANARY, f" {REFERENCE}", f"{{{{secret/{CANARY}", 7, [CANARY], {"a": CANARY}, True, ""):
            message = refusal(with_settings(name, within, {**minimal(provider), field: wrong}))
            assert message.startswith(f"{place_of(name, within)}.{field}: wanted {{{{secrets/")
            assert f"{field}_plaintext" in message
            assert CANARY not in message
        for wrong in ("", 7, [CANARY], {"a": CANARY}, False):
            config = {key: value for key, value in minimal(provider).items() if key != field}
            message = refusal(with_settings(name, within, {**config, f"{field}_plaintext": wrong}))
            assert message == f"{place_of(name, within)}.{field}_plaintext: wanted a string that is not empty."


@EVERY
def test_any_other_field_is_text(name: str, provider: Provider, within: str | None) -> None:
    for field in provider.fields:
        decoded = decode(with_settings(name, within, {**minimal(provider), field: "text"}))
        kept = decoded.model.config if within is None else decoded.model.config[within]
        assert kept[field] == "text"
        for wrong in ("", 7, ["a"], {}, False):
            message = refusal(with_settings(name, within, {**minimal(provider), field: wrong}))
            assert message == f"{place_of(name, within)}.{field}: got no text; wanted a string."


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_task_that_a_provider_does_not_have_is_refused_with_those_that_it_has(name: str) -> None:
    provider = PROVIDERS[name]
    for task in ("llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"):
        given = external(name, minimal(provider), task=task)
        if task in provider.tasks:
            assert decode(given).model.task == task
        else:
            assert refusal(given) == f"{AT}.task: got '{task}'; provider '{name}' has {', '.join(provider.tasks)}."


@pytest.mark.parametrize("provider", ["openAI", "azure", "OPENAI", " openai"])
def test_an_unknown_provider_is_refused_with_those_that_are_known(provider: str) -> None:
    message = refusal({"provider": provider, "name": "gpt", "task": "llm/v1/chat"})
    assert message == f"{AT}.provider: got '{provider}'; wanted one of {', '.join(PROVIDERS)}."


@pytest.mark.parametrize("field", ["provider", "name", "task"])
@pytest.mark.parametrize("value", [None, "", 7, ["openai"], {}])
def test_provider_name_and_task_are_text(field: str, value: Any) -> None:
    given = {**external("openai", minimal(PROVIDERS["openai"])), field: value}
    assert refusal(given) == f"{AT}.{field}: {'missing' if value is None else 'got no text'}; wanted a string."


@pytest.mark.parametrize(("config", "why"), [(None, "missing"), (CANARY, "got no object"), ([CANARY], "got no object")])
def test_settings_are_an_object(config: Any, why: str) -> None:
    assert refusal(external("openai", config)) == f"{AT}.openai_config: {why}; wanted an object."


def test_settings_of_another_provider_are_none() -> None:
    given = {**external("openai", None), "anthropic_config": minimal(PROVIDERS["anthropic"])}
    assert refusal(given) == f"{AT}.openai_config: missing; wanted an object."


def junk(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Nested documents of these."""
    leaves |= st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just(REFERENCE)
    inner = st.lists(leaves, max_size=3) | st.dictionaries(names, leaves, max_size=3)
    return leaves | inner | st.dictionaries(names, inner, max_size=3)


JUNK = junk(st.nothing(), st.text(max_size=6))
SECRET_NAMES = st.sampled_from(["token", "value", "token_plaintext", "value_plaintext", "unknown"])
SECRET_JUNK = junk(st.just(CANARY), SECRET_NAMES)


@st.composite
def leaky(draw: st.DrawFn) -> dict[str, Any]:
    """An external model in whose settings a key lies where one may lie, or next to it, or in what is none."""
    name = draw(st.sampled_from(sorted(PROVIDERS)))
    provider = PROVIDERS[name]
    config: dict[str, Any] = minimal(provider) if draw(st.booleans()) else {}
    places = [(provider, config)]
    for inner in provider.nested.values():
        if draw(st.booleans()):
            config[inner.config] = {}
            places.append((inner, config[inner.config]))
    for where, values in places:
        for key in where.keys:
            field = draw(st.sampled_from([key, f"{key}_plaintext", f"{key}_typo"]))
            values[field] = draw(st.sampled_from([CANARY, [CANARY], {"a": [CANARY]}, {CANARY: 1}]) | SECRET_JUNK)
        for field in draw(st.lists(st.sampled_from([*where.fields, "unknown"]), max_size=2)):
            values[field] = draw(JUNK)
    for inner in provider.nested.values():
        if draw(st.integers(0, 4)) == 0:
            config[inner.config] = draw(SECRET_JUNK)
    return external(name, config)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(leaky())
def test_no_key_is_ever_shown_whatever_lies_around_it(given: dict[str, Any]) -> None:
    try:
        decoded = decode(given)
    except InvalidParameterValue as refused:
        shown = [refused.message, repr(refused), repr(refused.__cause__), repr(refused.__context__)]
    else:
        shown = [repr(decoded), str(decoded.plaintexts), json.dumps(encode_external_model(decoded.model))]
    assert not any(CANARY in text for text in shown)
