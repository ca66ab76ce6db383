"""The stock SDK with its own 60 seconds, against a model that takes longer: only at full length."""

from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from support.counted import serving_counted
from support.stack import Stack


def test_p3_3_a_prediction_of_70_s_is_made_once_and_answered_once(
    arena: Stack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The short form, with an SDK that waits 2 s, is in `tests/e2e/test_resends.py`."""
    if not request.config.getoption("--full"):
        pytest.skip("takes 70 s; runs with --full")
    with serving_counted(arena, tmp_path / "runs") as counted:
        stock = WorkspaceClient(host=arena.url, token=arena.token)
        answer = stock.serving_endpoints.query("counted", dataframe_records=[counted.row("stock", 70)])
        assert counted.runs("stock") == answer.predictions
