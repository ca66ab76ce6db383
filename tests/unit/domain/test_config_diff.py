"""What differs between two configs: every field, by name; secrets only as being another."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.config_diff import Change, changes_between
from penstock.domain.endpoint import EndpointConfig
from penstock.domain.external_model import ExternalModel
from penstock.domain.secrets import Sealed
from penstock.domain.served_entity import ServedEntity
from penstock.domain.sizing import Sizing, WorkloadSize
from penstock.domain.traffic import Route
from unit.builders import entity


def config(*entities: ServedEntity, routes: tuple[Route, ...] = (), version: int = 1) -> EndpointConfig:
    return EndpointConfig(version, entities, routes or (Route(entities[0].name, 100),))


def changes(before: EndpointConfig, after: EndpointConfig) -> list[tuple[str, str | None, str | None]]:
    return [(change.field, change.before, change.after) for change in changes_between(before, after)]


ENTITIES = st.builds(
    entity,
    st.sampled_from(["1", "2", ""]),
    model=st.sampled_from(["m", "n"]),
    name=st.sampled_from(["a", "b", "c"]),
    sizing=st.sampled_from([Sizing(), Sizing(WorkloadSize.LARGE, scale_to_zero=True), Sizing(None, min_concurrency=4)]),
    environment=st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["x", "y"])),
    sealed=st.dictionaries(st.sampled_from(["A", "k.v"]), st.builds(Sealed, st.sampled_from("12"), st.text())),
    alias=st.sampled_from([None, "champion"]),
    follow_alias=st.booleans(),
)
CONFIGS = st.builds(
    lambda entities, shares: EndpointConfig(
        1, tuple(entities), tuple(Route(e.name, s) for e, s in zip(entities, shares, strict=False))
    ),
    st.lists(ENTITIES, max_size=3, unique_by=lambda e: e.name),
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
)


@given(CONFIGS)
def test_a_config_does_not_differ_from_itself(one: EndpointConfig) -> None:
    assert changes_between(one, replace(one, version=9, author="ann", reason="why", started_at_ms=7)) == ()


@given(CONFIGS, CONFIGS)
def test_there_and_back_are_the_same_fields(one: EndpointConfig, other: EndpointConfig) -> None:
    def as_told(found: tuple[Change, ...]) -> list[tuple[str, str, str]]:
        return sorted(
            (
                change.field.rsplit("].", 1)[-1],
                *((text or "").removesuffix(" (another value)") for text in (change.before, change.after)),
            )
            for change in found
        )

    there, back = as_told(changes_between(one, other)), as_told(changes_between(other, one))
    assert sorted((field, after, before) for field, before, after in there) == back


@given(CONFIGS, CONFIGS)
def test_every_change_is_one(one: EndpointConfig, other: EndpointConfig) -> None:
    for change in changes_between(one, other):
        assert change.before != change.after
        assert change.field.startswith(("served_entities[", "traffic_config["))


def test_a_new_version_under_its_default_name_is_one_entity_that_changed() -> None:
    assert changes(config(entity("1")), config(entity("2"))) == [
        ("served_entities[m-2].name", "m-1", "m-2"),
        ("served_entities[m-2].entity_version", "1", "2"),
    ]


def test_an_entity_more_and_another_split() -> None:
    split = (Route("m-1", 90), Route("n-1", 10))
    found = changes(config(entity("1")), config(entity("1"), entity("1", model="n"), routes=split))
    assert found[0] == ("traffic_config[m-1].traffic_percentage", "100", "90")
    assert {field for field, before, _ in found[1:] if before is None} == {field for field, _, _ in found[1:]}
    assert ("served_entities[n-1].entity_name", None, "n") in found
    assert ("traffic_config[n-1].traffic_percentage", None, "10") in found


def test_sizes_and_variables_are_named() -> None:
    before = config(entity(environment={"GONE": "1", "KEPT": "k", "OTHER": "a"}))
    after = config(
        entity(sizing=Sizing(None, min_concurrency=4, max_concurrency=8), environment={"KEPT": "k", "OTHER": "b"})
    )
    assert changes(before, after) == [
        ("served_entities[m-1].workload_size", "Small", None),
        ("served_entities[m-1].environment_vars.GONE", "1", None),
        ("served_entities[m-1].environment_vars.OTHER", "a", "b"),
        ("served_entities[m-1].min_provisioned_concurrency", None, "4"),
        ("served_entities[m-1].max_provisioned_concurrency", None, "8"),
    ]


def test_another_value_of_a_secret_shows_its_reference_only() -> None:
    reference = {"KEY": "{{secrets/s/k}}"}
    before = config(entity(environment=reference, sealed={"KEY": Sealed("v1", "canary-1")}))
    after = config(entity(environment=reference, sealed={"KEY": Sealed("v2", "canary-2")}))
    assert changes(before, after) == [
        ("served_entities[m-1].environment_vars.KEY", "{{secrets/s/k}}", "{{secrets/s/k}} (another value)")
    ]


def test_keys_of_external_models_are_never_shown() -> None:
    def external(name: str, key: Sealed) -> EndpointConfig:
        model = ExternalModel("openai", name, "llm/v1/chat", "openai_config", {"api_base": "http://x"})
        return config(ServedEntity("1" * 32, "e", None, external=model, sealed={"openai_api_key": key}))

    found = changes(external("small", Sealed("v1", "canary")), external("large", Sealed("v2", "canary")))
    assert found == [
        ("served_entities[e].external_model.name", "small", "large"),
        ("served_entities[e].external_model.openai_config.openai_api_key", "(a secret)", "(a secret) (another value)"),
    ]


def test_a_version_that_was_deleted_and_made_anew_is_another() -> None:
    assert changes(config(entity(created_at_ms=1)), config(entity(created_at_ms=2))) == [
        ("served_entities[m-1].entity_version", "1", "1 (another value)")
    ]
