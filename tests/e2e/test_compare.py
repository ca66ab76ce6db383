"""`bench/compare.py` in small: it asks servers that are beside us in turns, and works out what they came to."""

from pathlib import Path

import pytest
from compare import Comparison, choices, show
from comparing.figures import Cell, figures
from comparing.measuring import Round, median

from support.stack import MANAGEMENT, Stack, registry_of


def test_p4_7_servers_in_turns_checked_measured_and_none_silently_missing(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FastAPI is here, because MLflow brings it; mosec is not, and has to be told of."""
    chosen = choices(
        [
            *("--here", "--models", "noop", "--peers", "penstock-one", "fastapi", "mosec", "--rows", "1", "3"),
            *("--concurrency", "2", "--rounds", "2", "--seconds", "0.2"),
        ]
    )
    with registry_of(stack):
        report = Comparison(chosen, stack, tmp_path).run()
    assert {(cell["rows"], cell["peer"]) for cell in report["cells"]} == {
        (rows, peer) for rows in (1, 3) for peer in ("penstock-one", "fastapi")
    }
    for cell in report["cells"]:
        assert len(cell["rounds"]) == 2
        assert cell["median"]["errors"] == 0
        assert cell["median"]["p50_ms"] > 0
        assert cell["median"]["requests_per_s"] > 0
    assert set(report["memory_mib"]["noop"]) == {"penstock-one", "fastapi"}
    assert [(one["peer"], one["model"]) for one in report["unavailable"]] == [("mosec", "every model")]
    assert report["versions"]["fastapi"]["mlflow"] == report["versions"]["here"]["mlflow"]
    show(report)
    assert "mosec is not installed here" in capsys.readouterr().out
    left = [one["name"] for one in stack.call("GET", MANAGEMENT).json()["endpoints"]]
    assert "noop-penstock-one" not in left


def seen(requests_per_s: float, p50_ms: float, cpu_us: float = 1.0, errors: int = 0) -> Round:
    return Round(requests_per_s, p50_ms, p50_ms, cpu_us, errors, 0.1, 0.5)


def test_p4_7_figures_are_worked_out_of_the_best_of_the_named_peers() -> None:
    one, many = Cell("lr", 1, 1), Cell("lr", 1, 64)
    medians = {
        (one, "penstock"): seen(100, 0.2),
        (one, "mosec"): seen(50, 4.0),
        (one, "mosec-batch"): seen(40, 1.0),
        (many, "penstock"): seen(50_000, 1.0, cpu_us=22.0),
        (many, "mosec"): seen(100, 9.0),
        (many, "mosec-batch"): seen(5_000, 9.0),
    }
    found = {figure.what: figure for figure in figures(medians, "penstock", 0.0)}
    rate = found["LR against mosec, natural: requests/s at c=64"]
    assert (rate.reached, rate.verdict) == (10, "gate")
    p50 = found["LR against mosec, natural: p50 at c=1, times lower"]
    assert (p50.reached, p50.verdict) == (5, "missed")
    cpu = found["LR: CPU at c=64, us"]
    assert (cpu.reached, cpu.verdict) == (22.0, "gate")
    assert found["LR against mlflow: p50 at c=1, times lower"].verdict == "not measured"


def test_p4_7_medians_and_the_sum_of_errors() -> None:
    middle = median([seen(1, 10, errors=1), seen(3, 30, errors=2), seen(2, 20)])
    assert (middle.requests_per_s, middle.p50_ms, middle.errors) == (2, 20, 3)
