"""`penstock autoscaler replay`: a trace in, the policy's replicas out, and what is said of a bad trace."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app

TRACE = "second,calls\n" + "".join(f"{second},{8 if 100 <= second < 200 else 0}\n" for second in range(400))


def run(tmp_path: Path, text: str, *options: str) -> tuple[int, str, str]:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    result = CliRunner().invoke(app, ["autoscaler", "replay", str(file), *options])
    return result.exit_code, result.stdout, result.stderr


BOUNDS = ("--min", "4", "--max", "16", "--cores", "8")


def test_p3_12_a_replay_tells_every_change(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, TRACE, *BOUNDS, "--scale-to-zero", "--zero-after", "90", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["bounds"] == {"low": 0, "high": 4}
    steps = [(change["from"], change["to"]) for change in document["changes"]]
    assert steps == [(1, 0), (0, 1), (1, 2), (2, 3), (3, 2), (2, 1), (1, 0)]
    assert max(document["replicas"]) == 3
    assert document["replicas"][99] == 0, "idle for 90 s"
    assert document["replicas"][-1] == 0
    assert document["replica_seconds"] == sum(document["replicas"])


def test_p3_12_a_replay_draws(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, TRACE, *BOUNDS)
    assert code == 0
    calls, replicas, *_ = out.splitlines()
    assert calls.startswith("calls ")
    assert "█" in calls
    assert replicas.endswith("1 to 4")


@pytest.mark.parametrize(
    ("text", "options", "fragment"),
    [
        ("", BOUNDS, "columns second and calls"),
        ("second,calls\n", BOUNDS, "no load"),
        ("a,b\n1,2\n", BOUNDS, "columns second and calls"),
        ("second,calls\n1,x\n", BOUNDS, "line 2"),
        ("second,calls\n1\n", BOUNDS, "line 2"),
        ("second,calls\n-1,1\n", BOUNDS, "line 2"),
        ("second,calls\n99999999999,1\n", BOUNDS, "line 2"),
        ("second,calls\n1,nan\n", BOUNDS, "line 2"),
        ("second,calls\n1,1\n1,2\n", BOUNDS, "came twice"),
        (TRACE, ("--min", "5"), "multiple of 4"),
        (TRACE, ("--size", "Huge"), "Huge"),
        (TRACE, ("--stable", "5", "--panic", "6"), "--panic"),
    ],
)
def test_p3_12_a_bad_trace_is_told_with_its_place(
    tmp_path: Path, text: str, options: tuple[str, ...], fragment: str
) -> None:
    code, out, err = run(tmp_path, text, *options)
    assert code == 2
    assert fragment in err
    assert not out
