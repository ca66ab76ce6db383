"""The quickstart, twice on one home: the second time is quick and harms nothing."""

import json
import time
from pathlib import Path

from support.stack import penstock


def test_quickstart_twice(tmp_path: Path) -> None:
    took = []
    for _ in range(2):
        started = time.monotonic()
        result = penstock("quickstart", "--exit", "--json", "--port", "0", home=tmp_path / "home")
        took.append(time.monotonic() - started)
        assert result.returncode == 0, result.stderr
        summary = json.loads(result.stdout)
        assert summary["right"] > 0.9 * summary["queries"]
        assert summary["split"]["champion"] > summary["split"]["challenger"] > 0
        for expected in ("curl -H", "requests.post(", "WorkspaceClient(", "p50", "/mlflow/"):
            assert expected in result.stderr
        assert "Traceback" not in result.stderr
    assert "registered already" in result.stderr
    assert "exists already" in result.stderr
    assert not (tmp_path / "home" / "run" / "penstock.json").exists()
