"""Requirement lines as pip reads them, and what of them an environment does not meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.requirements import Installed, Line, read_lines, unmet

ENVIRONMENT = {
    "mlflow": Installed("3.17.2"),
    "torch": Installed("2.13.0+cpu"),
    "beta": Installed("2.0rc1"),
    "odd": Installed("unknown"),
    "mock": Installed(
        "1.0", ('dep<2; extra == "gateway"', 'gone; extra == "other"', 'mock[gateway]; extra == "all"', "base")
    ),
    "dep": Installed("1.5"),
}


def line(text: str, **fields: bool) -> Line:
    return Line(text, "requirements.txt", 1, **fields)


def test_comments_blanks_and_continuations() -> None:
    text = "# all\n\nmlflow==3.17.2  # pinned\nfoo \\\n  >=1\nbar @ https://h/x#egg=bar\n last \\"
    assert [(found.text, found.number) for found in read_lines("r.txt", text)] == [
        ("mlflow==3.17.2", 3),
        ("foo >=1", 4),
        ("bar @ https://h/x#egg=bar", 6),
        ("last", 7),
    ]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    for found in read_lines("r.txt", text):
        assert found.text == found.text.strip() != ""
        assert 1 <= found.number <= len(text.splitlines())
        unmet([found], ENVIRONMENT.get)


@pytest.mark.parametrize(
    "text",
    [
        "mlflow",
        "mlflow==3.17.2",
        "mlflow>=3,<4 --hash=sha256:00",
        "torch==2.13.0",
        "beta>=1",
        'nowhere; python_version < "3"',
        "--extra-index-url https://h/simple",
        "penstock==0.0.1",
        "mock[gateway]",
        "mock[all]",
        "mock[no-such-extra]",
    ],
)
def test_what_is_met(text: str) -> None:
    assert unmet([line(text)], ENVIRONMENT.get) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mlflow==3.17.1", "mlflow 3.17.2 is installed"),
        ("torch==2.13.0+cu128", "torch 2.13.0+cpu is installed"),
        ("nowhere>=1", "nowhere is not installed"),
        ('nowhere; python_version > "3"', "nowhere is not installed"),
        ("odd>=1", "odd unknown is installed"),
        ("mock[other]", "gone is not installed"),
        ("./wheels/mine.whl", "can only be installed"),
        ("-e ./mine", "can only be installed"),
        ("mlflow @ git+https://h/mlflow", "can only be installed"),
    ],
)
def test_what_is_not_met_is_told_with_its_line(text: str, reason: str) -> None:
    (told,) = unmet([line(text)], ENVIRONMENT.get)
    assert told.startswith("requirements.txt line 1 asks for ")
    assert reason in told


def test_a_constraint_asks_for_nothing_but_binds_what_is_there() -> None:
    assert unmet([line("nowhere==1", is_constraint=True)], ENVIRONMENT.get) == ()
    assert len(unmet([line("dep>=2", is_constraint=True)], ENVIRONMENT.get)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Foo_Bar >= 1, < 2", "foo-bar<2,>=1"),
        ("foo[B,a]==1", "foo[a,b]==1"),
        ("foo ; python_version>='3'", 'foo; python_version >= "3"'),
    ],
)
def test_lines_that_mean_the_same_have_one_normal_form(one: str, other: str) -> None:
    assert line(one).normal_form == line(other).normal_form


@pytest.mark.parametrize(
    ("one", "other"), [("foo==1", "foo==2"), ("foo", "foo[a]"), ("foo @ https://h/1", "foo @ https://h/2"), ("a", "b")]
)
def test_lines_that_differ_do_not(one: str, other: str) -> None:
    assert line(one).normal_form != line(other).normal_form
    assert line(one).normal_form != line(one, is_constraint=True).normal_form
