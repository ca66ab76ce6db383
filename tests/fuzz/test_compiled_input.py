"""The compiled input against MLflow's own way, in small; `bench/compiled_input.py` runs the same at full length."""

import pytest
from hypothesis import HealthCheck, given, seed, settings

from support.compiled.cases import BODIES, Case, cases
from support.compiled.differential import Tally, examine, quiet

EXAMPLES = 700
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
    assert tally.share >= 0.95
