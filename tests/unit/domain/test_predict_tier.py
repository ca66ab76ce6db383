"""The order of the tiers, and what is said where one falls short."""

import msgspec
import pytest

from penstock.domain.predict_tier import PredictTier, TierFinding, shortfall

ARRAY = TierFinding(PredictTier.ARRAY, "no kernel: there is none for SVC.predict.", is_row_independent=True)


def test_p4_2_each_tier_is_quicker_than_the_one_before() -> None:
    assert sorted(PredictTier, key=lambda tier: tier.rank) == ["mlflow", "frame", "array", "kernel"]


@pytest.mark.parametrize("wanted", [None, PredictTier.MLFLOW, PredictTier.FRAME, PredictTier.ARRAY])
def test_p4_2_nothing_is_said_of_a_tier_that_is_reached(wanted: PredictTier | None) -> None:
    assert shortfall(ARRAY, wanted) == ""


def test_p4_2_what_falls_short_is_said_with_the_reason() -> None:
    assert shortfall(ARRAY, PredictTier.KERNEL) == (
        "PENSTOCK_PREDICT_TIER asks for kernel, and it is served by array: no kernel: there is none for SVC.predict."
    )


@pytest.mark.parametrize("deviation", [None, 0.0, 5e-324, 1e-16])
def test_p4_2_a_finding_survives_being_stored(deviation: float | None) -> None:
    finding = TierFinding(PredictTier.FRAME, "…", max_deviation=deviation)
    assert msgspec.json.decode(msgspec.json.encode(finding), type=TierFinding) == finding
