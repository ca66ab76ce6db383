"""Every example runs as its README says, and prints what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.stack import Stack, clean_environment

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "01-first-endpoint": [r"registered diabetes version 1", r"diabetes is READY", r"diabetes-1 predicts \d+\.\d"],
    "02-traffic-split": [r"wine version 2 as @challenger", r"80/20: .*champion", r"0/100: \{'challenger': 20\}"],
    "03-update-without-a-gap": [r"now: Good day, Ada!", r"failed: 0\n", r"answered by the old version meanwhile: True"],
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == set(SAID)


@pytest.mark.parametrize("example", SAID)
def test_example(stack: Stack, example: str) -> None:
    environment = clean_environment(
        {
            "DATABRICKS_HOST": stack.url,
            "DATABRICKS_TOKEN": stack.token,
            "MLFLOW_TRACKING_URI": stack.url,
            "MLFLOW_TRACKING_TOKEN": stack.token,
        }
    )
    printed = ""
    for script in ("register.py", "client.py"):
        result = subprocess.run(
            [sys.executable, str(EXAMPLES / example / script)],
            capture_output=True,
            text=True,
            timeout=180,
            env=environment,
        )
        assert result.returncode == 0, result.stderr
        printed += result.stdout
    for pattern in SAID[example]:
        assert re.search(pattern, printed), printed
