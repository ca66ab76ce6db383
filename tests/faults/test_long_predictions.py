"""The stock SDK with its own 60 seconds, against a model that takes longer: only at full length."""

from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from support.counted import serving_counted
from support.stack import Stack, registry_of


def test_p3_3_a_prediction_of_70_s_is_made_once_and_answered_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whichever of two gateways it comes to. The short form is in `tests/e2e/test_resends_to_gateways.py`."""
    if not request.config.getoption("--full"):
        pytest.skip("takes 70 s; runs with --full")
    arena: Stack = request.getfixturevalue("arena")
    with registry_of(arena), serving_counted(arena, tmp_path / "runs") as counted:
        stock = WorkspaceClient(host=arena.url, token=arena.token)
        answer = stock.serving_endpoints.query("counted", dataframe_records=[counted.row("stock", 70)])
        assert counted.runs("stock") == answer.predictions
