"""The stock SDK with its own 60 seconds, against a model that takes longer: only at full length."""

from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient

from support.counted import serving_counted
from support.stack import registry_of, start_stack


def test_p3_3_a_prediction_of_70_s_is_made_once_and_answered_once(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By one gateway. The short form, with an SDK that waits 2 s, is in `tests/e2e/test_resends.py`."""
    if not request.config.getoption("--full"):
        pytest.skip("takes 70 s; runs with --full")
    stack = start_stack(tmp_path / "home")
    try:
        with registry_of(stack), serving_counted(stack, tmp_path / "runs") as counted:
            stock = WorkspaceClient(host=stack.url, token=stack.token)
            answer = stock.serving_endpoints.query("counted", dataframe_records=[counted.row("stock", 70)])
            assert counted.runs("stock") == answer.predictions
    finally:
        stack.stop()
