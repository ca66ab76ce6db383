"""The compiled input against MLflow's own way, in small; `bench/compiled_input.py` runs the same at full length."""

import pytest
from hypothesis import HealthCheck, given, seed, settings
from mlflow.types import ColSpec

from penstock.flavors.compiled.compiling import compile_input
from support.compiled.cases import BODIES, Body, Case, cases
from support.compiled.differential import Different, Tally, examine, quiet
from support.compiled.oracle import Oracle

EXAMPLES = 400
LIMITS = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=[*HealthCheck], print_blob=False
)


@pytest.mark.parametrize("is_fixed", [True, False], ids=["fixed", "new"])
def test_p4_1_what_is_taken_is_what_mlflow_makes_of_it(capsys: pytest.CaptureFixture[str], *, is_fixed: bool) -> None:
    tally = Tally()

    @given(cases())
    def run(case: Case) -> None:
        examine(case, tally)

    with quiet():
        settings(LIMITS)(seed(20261122)(run) if is_fixed else run)()
    with capsys.disabled():
        print(f"\n{tally}")
    assert tally.bodies >= EXAMPLES * BODIES
    assert tally.taken > tally.bodies // 5
    assert tally.refused > tally.bodies // 10
    assert tally.share >= (0.95 if is_fixed else 0.9)


A_AND_B = (ColSpec("double", "a"), ColSpec("double", "b"))


@pytest.mark.parametrize(
    ("read_as", "told"),
    [
        ((ColSpec("float", "a"), ColSpec("double", "b")), "float"),
        ((ColSpec("double", "b"), ColSpec("double", "a")), "columns"),
        ((ColSpec("double", "a"),), "MLflow refuses"),
    ],
)
def test_p4_1_a_difference_is_found(read_as: tuple[ColSpec, ...], told: str) -> None:
    texts = (b'{"dataframe_records": [{"a": 1}]}', b'{"inputs": {"a": [1], "b": [2.5]}}')
    case = Case(A_AND_B, is_common=True, bodies=tuple(Body(text, is_right=True) for text in texts))
    wrong = compile_input(Oracle(read_as).metadata)
    with quiet(), pytest.raises(Different, match=told):
        examine(case, Tally(), wrong)


def test_p4_1_what_is_left_to_mlflow_is_counted() -> None:
    texts = (b'{"inputs": {"a": [1], "b": [2.5]}}', b'{"inputs": {"a": [1], "b": ["2.5"]}}', b'{"inputs": {"a": 1}}')
    tally = Tally()
    with quiet():
        examine(Case(A_AND_B, is_common=True, bodies=tuple(Body(text, is_right=True) for text in texts)), tally)
    assert (tally.bodies, tally.taken, tally.refused, tally.share) == (3, 1, 1, 0.5)
    assert "50.0 %" in str(tally)
