"""What `penstock bench` refuses before it asks anybody."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app

URL = "http://127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([URL, "--row", "[1]"], "--row"),
        ([URL, "--row", "[]"], "--row"),
        ([URL, "--row", "{"], "--row"),
        ([URL, "--body", "nothing.json"], "nothing.json"),
        ([URL, "--row", "{}", "--body", "x"], "one of the two"),
        ([URL, "--row", "{}", "-d", "1", "-n", "1"], "one of the two"),
        ([URL, "-c", "0"], "concurrency"),
        ([URL, "-c", "10001"], "concurrency"),
        ([URL, "-n", "0"], "requests"),
        ([URL, "-d", "0"], "duration"),
        ([URL], "--body or --row"),
    ],
)
def test_p4_6_usage(tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["bench", *arguments, "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert told in result.output + capfd.readouterr().err
    assert "Traceback" not in result.output
