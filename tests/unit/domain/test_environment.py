"""Where a model runs, what its environment is called, and which environments go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.environment import (
    KEEP_UNUSED_S,
    EnvironmentUse,
    EnvManager,
    ModelNeeds,
    conflicts,
    constraints,
    decide,
    environment_key,
    install_list,
    other_python,
    unwanted,
)
from penstock.domain.requirements import Installed, read_lines

OURS = {"mlflow": Installed("3.17.2"), "msgspec": Installed("0.22")}
names = st.sampled_from(["mlflow==3.1", "dummy==1.0", "Foo>=1,<2", "bar[x]", "baz; python_version >= '3'"])


def needs(*lines: str) -> ModelNeeds:
    return ModelNeeds(read_lines("requirements.txt", "\n".join(lines)))


def key(model: ModelNeeds, python: str = "CPython 3.11", platform: str = "linux x86_64", name: str = "m") -> str:
    return environment_key(model, python, platform, name)


@pytest.mark.parametrize(
    ("manager", "line", "is_built", "reasons"),
    [
        (EnvManager.AUTO, "mlflow==3.17.2", False, 0),
        (EnvManager.AUTO, "mlflow==3.17.1", True, 1),
        (EnvManager.AUTO, "dummy", True, 1),
        (EnvManager.AUTO, "", False, 0),
        (EnvManager.LOCAL, "mlflow==3.17.1", False, 1),
        (EnvManager.LOCAL, "mlflow", False, 0),
        (EnvManager.UV, "mlflow", True, 0),
        (EnvManager.UV, "", True, 0),
    ],
)
def test_where_a_model_runs(manager: EnvManager, line: str, is_built: bool, reasons: int) -> None:
    decision = decide(manager, needs(line), OURS.get)
    assert (decision.is_built, len(decision.reasons)) == (is_built, reasons)


@given(st.lists(names).flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))))
def test_order_repetition_and_comments_do_not_make_another_environment(lists: tuple[list[str], list[str]]) -> None:
    one, other = lists
    assert key(needs(*one)) == key(needs("# note", *other, *other))


@given(st.sets(names), st.sets(names))
def test_models_share_an_environment_only_if_they_want_the_same(one: set[str], other: set[str]) -> None:
    assert (key(needs(*one)) == key(needs(*other))) == (one == other)


def test_python_platform_indexes_and_constraints_make_another_environment() -> None:
    base = needs("dummy==1")
    keys = [
        key(base),
        key(base, python="CPython 3.12"),
        key(base, platform="linux aarch64"),
        key(needs("dummy==1", "--index-url https://h/simple")),
        key(ModelNeeds((*base.lines, *read_lines("constraints.txt", "foo<2", is_constraint=True)))),
        key(ModelNeeds(base.lines, build_dependencies=("setuptools==65",))),
    ]
    assert len(set(keys)) == len(keys)
    assert key(ModelNeeds(base.lines, python="3.11.1")) == key(base)


def test_a_model_that_brings_files_along_shares_with_no_other() -> None:
    assert key(needs("dummy"), name="m1") == key(needs("dummy"), name="m2")
    assert key(needs("./wheels/x.whl"), name="m1") != key(needs("./wheels/x.whl"), name="m2")


def test_what_is_installed() -> None:
    model = ModelNeeds(
        (
            *read_lines(
                "requirements.txt", "dummy==1\npenstock\nwheels/x.whl\n-e ./mine\n-f links\n-i https://h/simple"
            ),
            *read_lines("constraints.txt", "foo<2", is_constraint=True),
        )
    )
    assert install_list(model, "/m") == (
        "dummy==1",
        "/m/wheels/x.whl",
        "-e /m/./mine",
        "-f /m/links",
        "-i https://h/simple",
    )
    assert constraints(model) == ("foo<2",)


def test_mlflow_is_added_only_for_a_model_that_does_not_ask_for_it() -> None:
    assert any("mlflow" in needed for needed in needs("dummy").runtime)
    for line in ("mlflow==2.22.0", "MLflow_skinny>=3"):
        assert not any("mlflow" in needed for needed in needs(line).runtime)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "msgspec==0.10",
            "requirements.txt line 1 asks for msgspec==0.10, but the replica runtime needs msgspec>=0.19",
        ),
        ("mlflow==1.30", "mlflow==1.30"),
        ("msgspec==0.20", None),
        ("msgspec==0.*", None),
        ("msgspec<0.10", None),
        ('msgspec==0.10; python_version < "3"', None),
        ("dummy==0", None),
        ("./x.whl", None),
    ],
)
def test_pins_that_the_runtime_cannot_live_with(line: str, told: str | None) -> None:
    found = conflicts(needs(line))
    assert len(found) == (told is not None)
    assert all(told is not None and told in sentence for sentence in found)


@pytest.mark.parametrize(
    ("logged", "other"),
    [
        (None, None),
        ("3.11.7", None),
        ("3.11", None),
        ("3.12.1", "3.12"),
        ("3.9.2", "3.9"),
        ("3", None),
        ("x.y", None),
        ("٣.١٢", None),
    ],
)
def test_another_python(logged: str | None, other: str | None) -> None:
    assert other_python(ModelNeeds(python=logged), (3, 11)) == other


def test_an_environment_goes_when_no_model_uses_it_and_none_has_for_a_while() -> None:
    now_s = 1e9
    old, new = now_s - KEEP_UNUSED_S, now_s - KEEP_UNUSED_S + 1
    environments = [
        EnvironmentUse("wanted", frozenset(("a", "b")), old),
        EnvironmentUse("recent", frozenset(("c",)), new),
        EnvironmentUse("unused", frozenset(("c",)), old),
        EnvironmentUse("never-used", frozenset(), 0.0),
    ]
    assert unwanted(environments, {"b"}, now_s) == ("unused", "never-used")
