"""Batch runs by Spark: rows, errors and exit codes are those of the local engine. One real session for all."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deltalake
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from typer.testing import CliRunner

from penstock.batch.engine import Progress
from penstock.batch.model_source import Registry
from penstock.batch.plan import Engine, Format, Mode, Plan, Source, Target
from penstock.batch.public import score
from penstock.batch.run_folder import all_runs
from penstock.batch.runs import resume, run
from penstock.cli.main import app
from penstock.domain.errors import BadRequest
from penstock.settings import Home
from support.batch_runs import CHUNK_ROWS, POISON, ROWS, Ground, prepared, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = ["id", "a", "b", "c", "prediction", "model_name", "model_version"]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A model and a Delta table, and the same rows as files of the other forms."""
    ground = prepared(tmp_path_factory.mktemp("spark_batch"))
    files = deltalake.DeltaTable(ground.folder / "source").file_uris()
    for at, file in enumerate(sorted(files)):
        table = pq.read_table(file)
        for form in Format:
            (ground.folder / form).mkdir(exist_ok=True)
        pq.write_table(table, ground.folder / "parquet" / f"{at}.parquet")
        csv.write_csv(table, ground.folder / "csv" / f"{at}.csv")
        lines = (json.dumps({k: "NaN" if v != v else v for k, v in row.items()}) for row in table.to_pylist())  # noqa: PLR0124
        (ground.folder / "json" / f"{at}.jsonl").write_text("\n".join(lines) + "\n")
    return ground


def sorted_rows(folder: Path, form: Format, columns: list[str]) -> list[dict[str, Any]]:
    return sorted(rows_of(folder, form, columns), key=lambda row: [str(row[name]) for name in columns])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("source", Format.DELTA),
        ("parquet", Format.PARQUET),
        ("csv/*.csv", Format.PARQUET),
        ("json/*.jsonl", Format.DELTA),
    ],
)
def test_p6_4_both_engines_agree_to_the_last_bit(
    spark: "SparkSession", ground: Ground, tmp_path: Path, source: str, target: Format
) -> None:
    """Predictions and reasons, row for row; also of rows that cannot be read or scored."""
    for engine in ("local", "spark"):
        done = score(
            str(ground.folder / "model"),
            str(ground.folder / source),
            str(tmp_path / engine),
            engine=engine,
            target_format=target,
            chunk_rows=CHUNK_ROWS,
            home=tmp_path / "home",
        )
        assert (done.rows_in, done.rows_out, done.rows_failed) == (ROWS, ROWS - len(POISON), len(POISON))
    rows = sorted_rows(tmp_path / "spark", target, COLUMNS)
    assert rows == sorted_rows(tmp_path / "local", target, COLUMNS)
    assert {row["id"]: bool(row["prediction"]) for row in rows} == ground.labels
    errors = [sorted_rows(tmp_path / f"{e}_errors", target, ["source", "position", "row", "reason"]) for e in Engine]
    assert errors[0] == errors[1]
    assert len(errors[0]) == len(POISON)


@pytest.mark.parametrize("mode", [Mode.MERGE, Mode.OVERWRITE])
def test_p6_4_rows_of_before_are_replaced(spark: "SparkSession", ground: Ground, tmp_path: Path, mode: Mode) -> None:
    keys = ("id",) if mode is Mode.MERGE else ()
    for _ in range(2):
        score(
            str(ground.folder / "model"),
            str(ground.folder / "parquet"),
            str(tmp_path / "target"),
            engine="spark",
            mode=mode,
            keys=keys,
            chunk_rows=1000,
            home=tmp_path / "home",
        )
    ids = [row["id"] for row in rows_of(tmp_path / "target", Format.DELTA, ["id"])]
    assert sorted(ids) == sorted(ground.labels)


@pytest.mark.parametrize("source", ["source", "csv/*.csv"])
def test_p6_4_a_run_that_was_ended_goes_on_without_a_row_twice(
    spark: "SparkSession", ground: Ground, tmp_path: Path, source: str
) -> None:
    """It is ended in the midst of what a wave of tasks has done, once in each third of the rows."""
    home = Home(tmp_path / "home")
    plan = Plan(
        str(ground.folder / "model"),
        Source(str(ground.folder / source)),
        Target(str(tmp_path / "target")),
        Engine.SPARK,
        chunk_rows=CHUNK_ROWS,
    )

    class Ended(Exception):
        pass

    ends = iter((ROWS // 3, ROWS // 2, ROWS - CHUNK_ROWS))

    def until(rows: int) -> Any:
        def look(progress: Progress) -> None:
            if progress.rows_in >= rows and progress.rows_in > progress.rows_before:
                raise Ended

        return look

    with pytest.raises(Ended):
        run(plan, home, Registry(), 2, until(next(ends)), lambda _: None)
    (folder,) = all_runs(home.batch)
    for rows in ends:
        with pytest.raises(Ended):
            resume(folder.run_id, home, 2, until(rows), lambda _: None)
    done = resume(folder.run_id, home, 2, lambda _: None, lambda _: None)
    assert (done.rows_in, done.rows_out, done.rows_failed) == (ROWS, ROWS - len(POISON), len(POISON))
    ids = [row["id"] for row in rows_of(tmp_path / "target", Format.DELTA, ["id"])]
    assert sorted(ids) == sorted(ground.labels)
    assert not list((tmp_path / "target").glob("part-*-1000*.parquet"))


def test_p6_4_a_row_can_end_a_run_of_spark(spark: "SparkSession", ground: Ground, tmp_path: Path) -> None:
    frame = pd.read_parquet(ground.folder / "parquet").dropna().head(1000).reset_index(drop=True)
    frame.loc[776, "b"] = float("nan")
    frame.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(BadRequest, match=r"row 776 of .*rows.parquet: .*NaN.*'penstock batch resume") as caught:
        score(
            str(ground.folder / "model"),
            str(tmp_path / "rows.parquet"),
            str(tmp_path / "target"),
            engine="spark",
            on_error="stop",
            chunk_rows=100,
            home=tmp_path / "home",
        )
    assert "Traceback" not in str(caught.value)


def test_p6_4_the_command_tells_what_came_of_it(spark: "SparkSession", ground: Ground, tmp_path: Path) -> None:
    """In this process, so that it takes the session that runs."""
    command = ["batch", "run", "--engine", "spark", "--json", "--home", str(tmp_path / "home")]
    command += ["--model", str(ground.folder / "model"), "--source", str(ground.folder / "source")]
    command += ["--target", "main.default.scored", "--chunk-rows", "1000"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 7, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows_in"], told["rows_out"], told["rows_failed"]) == (ROWS, ROWS - len(POISON), len(POISON))
    found = rows_of(tmp_path / "home/warehouse/main/default/scored", Format.DELTA, ["id"])
    assert len(found) == len(ground.labels)
