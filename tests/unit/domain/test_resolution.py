"""What an installer says, told with the package, the constraint and who asked for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.requirements import read_lines
from penstock.domain.resolution import explain

LINES = read_lines("requirements.txt", "mlflow==3.17.2\nDummy==3\nneeds-nine\nother<2\nmsgspec==0.10")
RUNTIME = ("msgspec>=0.19", "pandas>=1.5")

MISSING = """\
Using Python 3.11.7 environment at: e1
error: No solution found when resolving dependencies
  cause: Because there is no version of dummy==3 and you require dummy==3, we can conclude that your requirements are
         unsatisfiable.
"""
DRAWN = """\
  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because only dummy<=2.0 is available and needs-nine==1.0 depends on
      dummy==9, we can conclude that needs-nine==1.0 cannot be used.
"""
UNKNOWN = "error: Because nosuch was not found in the provided package locations and you require nosuch, we conclude"
TRANSITIVE = (
    "Because there is no version of inner==9 and all versions of needs-nine depend on inner==9, we can conclude that "
    "all versions of needs-nine cannot be used. And because you require needs-nine, it is unsatisfiable."
)
AT_ODDS = "Because all versions of needs-nine depend on other>=2 and you require other<2, we can conclude that"
TWICE = "error: Because you require msgspec==0.10 and msgspec>=0.19, we can conclude that it is unsatisfiable."
BUILD = "error: Failed to build `needs-nine==1.0`\n  cause: The build backend returned an error"


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (MISSING, "Package 'dummy': requirements.txt line 2 asks for Dummy==3."),
        (DRAWN, "needs-nine asks for dummy==9 (and requirements.txt line 3 asks for needs-nine)."),
        (
            TRANSITIVE,
            "Package 'inner': needs-nine asks for inner==9 (and requirements.txt line 3 asks for needs-nine).",
        ),
        (AT_ODDS, "Package 'other': requirements.txt line 4 asks for other<2; needs-nine asks for other>=2 (and "),
        (TWICE, "Package 'msgspec': requirements.txt line 5 asks for msgspec==0.10; the replica runtime asks for "),
        (BUILD, "Package 'needs-nine': requirements.txt line 3 asks for needs-nine."),
    ],
)
def test_the_package_and_who_asked_for_it(output: str, sentence: str) -> None:
    told = explain(output, LINES, RUNTIME)
    assert sentence in told
    assert "uv: " in told
    assert "\n" not in told


def test_a_package_that_no_line_names_is_told_in_the_installer_s_words() -> None:
    assert explain(UNKNOWN, LINES, RUNTIME).startswith("uv: error: Because nosuch was not found")


@given(st.text())
def test_any_output_is_told_in_one_bounded_line(output: str) -> None:
    told = explain(output, LINES, RUNTIME)
    assert len(told.splitlines()) <= 1
    assert len(explain(output + "x " * 10_000, LINES, RUNTIME)) < 10_000
