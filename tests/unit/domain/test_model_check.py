"""When a model is asked its own example."""

from dataclasses import replace

import pytest

from penstock.domain.model_check import CHEAP_SAMPLE_MS, ModelCheck, Preflight, Sample, is_example_asked
from unit.builders import CHECK

SLOW = replace(CHECK, sample_ms=CHEAP_SAMPLE_MS + 1)


@pytest.mark.parametrize(
    ("preflight", "is_talking", "earlier", "is_asked"),
    [
        (Preflight.FULL, False, None, True),
        (Preflight.FULL, True, None, True),
        (Preflight.FULL, False, CHECK, True),
        (Preflight.FULL, True, CHECK, False),
        (Preflight.FULL, False, SLOW, False),
        (Preflight.FULL, True, replace(CHECK, sample=Sample.FAILED), True),
        (Preflight.FULL, True, replace(CHECK, sample=Sample.NOT_REACHED), True),
        (Preflight.FULL, True, replace(CHECK, sample=Sample.NO_EXAMPLE), True),
        (Preflight.LOAD, False, None, False),
        (Preflight.LOAD, False, CHECK, False),
        (Preflight.LOAD, True, None, False),
    ],
)
def test_the_first_replica_asks_and_later_ones_where_it_costs_nothing(
    preflight: Preflight, is_talking: bool, earlier: ModelCheck | None, is_asked: bool
) -> None:
    assert is_example_asked(preflight, is_talking=is_talking, earlier=earlier) is is_asked
