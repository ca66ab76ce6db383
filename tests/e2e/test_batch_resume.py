"""A batch run that is killed, at every fault point and at any moment, goes on: no row twice, none missing.

`--full` has 100 kills at random moments; without it there are some.
"""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.batch.plan import Format, Mode
from penstock.batch.run_folder import all_runs
from penstock.faults import POINTS
from penstock.settings import Home
from support.batch_runs import POISON, ROWS, TIMEOUT_S, Ground, prepared, rows_of, server, wipe, work

KINDS = [
    (Format.DELTA, Mode.APPEND),
    (Format.DELTA, Mode.OVERWRITE),
    (Format.DELTA, Mode.MERGE),
    (Format.PARQUET, Mode.APPEND),
    (Format.PARQUET, Mode.OVERWRITE),
]
OF_DELTA = {"batch-after-create", "batch-before-commit", "batch-after-commit"}
OF_PARQUET = {"batch-before-rename", "batch-after-rename", "batch-before-replace"}
BATCH_POINTS = {name for name, point in POINTS.items() if point.process == "batch"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepared(tmp_path_factory.mktemp("batch"))


class Trials:
    """One run after another in a home of its own, each begun on a target that has rows already."""

    def __init__(self, ground: Ground, folder: Path, form: Format, mode: Mode) -> None:
        self.ground, self.form, self.mode = ground, form, mode
        self.home, self.target = folder / "home", folder / "target"
        self.folder = folder
        self.context = server()

    def once(self, fault: str = "", kill_after_s: float | None = None) -> int:
        """One process of the run; how it ended."""
        plan = self.ground.plan(self.target, self.form, self.mode)
        process = self.context.Process(target=work, args=(self.home, plan, fault, self.folder))
        process.start()
        process.join(TIMEOUT_S if kill_after_s is None else kill_after_s)
        if process.is_alive():
            process.kill()
            process.join(TIMEOUT_S)
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode

    def check(self, times: int) -> None:
        """Every row is there, once for each run that appends, with its prediction or its reason."""
        rows = rows_of(self.target, self.form, ["id", "prediction"])
        errors = rows_of(self.target.with_name("target_errors"), self.form, ["position", "reason"])
        copies = times if self.mode is Mode.APPEND else 1
        assert len(rows) == copies * (ROWS - len(POISON))
        assert {row["id"]: row["prediction"] for row in rows} == self.ground.labels
        assert len(errors) == times * len(POISON)
        assert all("NaN" in row["reason"] for row in errors)
        assert not list(self.target.rglob("_penstock*"))
        assert all(run.summary() is not None for run in all_runs(Home(self.home).batch))


@pytest.fixture
def trials(ground: Ground, tmp_path: Path) -> Callable[[Format, Mode], Trials]:
    return lambda form, mode: Trials(ground, tmp_path, form, mode)


@pytest.mark.parametrize(("form", "mode"), KINDS)
def test_p6_3_a_kill_at_every_fault_point(form: Format, mode: Mode, trials: Callable[[Format, Mode], Trials]) -> None:
    """Each point kills the process that reaches it first; the next one goes on, to the next point."""
    trial = trials(form, mode)
    assert trial.once() == 0  # what is appended to, overwritten, merged with
    trial.check(1)
    expected = BATCH_POINTS - (OF_PARQUET if form is Format.DELTA else OF_DELTA) - {"batch-after-create"}
    if form is Format.PARQUET and mode is Mode.APPEND:
        expected -= {"batch-before-replace"}
    ends = 0
    while trial.once(",".join(sorted(BATCH_POINTS))) != 0:
        ends += 1
        assert ends <= len(expected), "a point fires once in a run"
    run = all_runs(Home(trial.home).batch)[-1]
    fired = {marker.name.removeprefix("fault-fired-") for marker in run.path.glob("fault-fired-*")}
    assert fired == expected
    assert ends == len(expected)
    trial.check(2)


@pytest.mark.timeout(1200)
def test_p6_3_kills_at_random_moments(
    trials: Callable[[Format, Mode], Trials], request: pytest.FixtureRequest, ground: Ground, tmp_path: Path
) -> None:
    kills, wanted, draw = 0, 100 if request.config.getoption("--full") else 6, random.Random(20_261_122)
    kinds = draw.sample(KINDS, len(KINDS))
    longest_s = 0.0
    while kills < wanted:
        form, mode = kinds.pop()
        kinds = kinds or draw.sample(KINDS, len(KINDS))
        trial = trials(form, mode)
        for _ in range(0 if longest_s else 2):  # the first of them waits until the server has imported everything
            started_s = time.monotonic()
            assert trial.once() == 0
            longest_s = time.monotonic() - started_s
        wipe(trial.home, trial.target, trial.target.with_name("target_errors"))
        while trial.once(kill_after_s=draw.uniform(0, longest_s)) != 0:
            kills += 1
        trial.check(1)
