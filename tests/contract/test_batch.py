"""Batch runs as programs and people ask for them: sources, targets, rows that cannot be scored, the command."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema
from sklearn.linear_model import LogisticRegression

from penstock import batch
from penstock.batch.run_folder import RunFolder
from penstock.domain.errors import BadRequest, InvalidParameterValue, ResourceConflict, ResourceDoesNotExist
from support.stack import Stack, penstock, use_registry

ROWS = pd.DataFrame(np.random.default_rng(3).normal(size=(60, 2)), columns=["x", "y"])
MODEL = LogisticRegression().fit(ROWS, ROWS["x"] > ROWS["y"])
LABELS = MODEL.predict(ROWS).tolist()
Score = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tells whether x is more than y."""
    folder = tmp_path_factory.mktemp("models") / "more"
    mlflow.sklearn.save_model(
        MODEL,
        folder,
        signature=infer_signature(ROWS, MODEL.predict(ROWS)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return str(folder)


@pytest.fixture
def score(model: str, tmp_path: Path) -> Score:
    """Scores with that model into a Delta table."""

    def go(source: object, target: str = "scored", **options: Any) -> Any:
        path = target if "." in target else str(tmp_path / target)
        return batch.score(options.pop("model", model), str(source), path, home=tmp_path / "home", **options)

    return go


def read(path: Path) -> pd.DataFrame:
    """A Delta table, or a folder of Parquet files."""
    files = DeltaTable(path).file_uris() if (path / "_delta_log").is_dir() else str(path)
    return ds.dataset(files, format="parquet").to_table().to_pandas()


def counts(done: Any) -> tuple[int, int, int]:
    return done.rows_in, done.rows_out, done.rows_failed


def table(rows: pd.DataFrame, **more: Any) -> pa.Table:
    return pa.Table.from_pandas(rows.assign(id=range(len(rows)), **more), preserve_index=False)


def test_p6_1_delta_to_delta_with_provenance_and_probabilities(score: Score, model: str, tmp_path: Path) -> None:
    write_deltalake(tmp_path / "rows", table(ROWS))
    before = datetime.now(UTC)
    done = score(tmp_path / "rows", probabilities=True, chunk_rows=25)
    assert counts(done) == (60, 60, 0)
    scored = read(tmp_path / "scored")
    assert list(scored) == [
        *("x", "y", "id", "prediction", "probabilities"),
        *("model_name", "model_version", "run_id", "scored_at"),
    ]
    assert scored["prediction"].tolist() == LABELS
    expected = [MODEL.predict_proba(ROWS[at : at + 25]) for at in (0, 25, 50)]
    assert np.array_equal(np.stack(scored["probabilities"]), np.concatenate(expected))
    assert set(scored["model_name"]) == {model}
    assert scored["model_version"].isna().all()
    assert set(scored["run_id"]) == {done.run_id}
    assert before < scored["scored_at"].min() <= scored["scored_at"].max() < datetime.now(UTC)


def test_p6_1_a_version_and_a_time_of_a_delta_table(score: Score, tmp_path: Path) -> None:
    write_deltalake(tmp_path / "rows", table(ROWS[:10]))
    then = datetime.now(UTC)
    write_deltalake(tmp_path / "rows", table(ROWS[10:]), mode="append")
    assert score(tmp_path / "rows", "old", version=0).rows_out == 10
    assert score(tmp_path / "rows", "then", timestamp=then).rows_out == 10
    assert score(tmp_path / "rows", "now").rows_out == 60
    with pytest.raises(InvalidParameterValue, match="version 9"):
        score(tmp_path / "rows", "never", version=9)


def test_p6_1_tables_by_name_and_columns_by_other_names(score: Score, tmp_path: Path) -> None:
    warehouse = tmp_path / "home/warehouse"
    renamed = ROWS.rename(columns={"x": "Width", "y": "Height"})
    write_deltalake(warehouse / "main/shop/rows", table(renamed))
    score("main.shop.rows", "main.shop.scored", columns={"x": "Width", "y": "Height"}, prediction_column="is_wide")
    assert read(warehouse / "main/shop/scored")["is_wide"].tolist() == LABELS
    with pytest.raises(InvalidParameterValue, match="the model wants columns x, y, which it has not; it has Width"):
        score("main.shop.rows", "main.shop.other")
    with pytest.raises(InvalidParameterValue, match="columns: got z; wanted inputs of the model, x, y"):
        score("main.shop.rows", "main.shop.other", columns={"z": "Width"})
    with pytest.raises(ResourceDoesNotExist, match=r"main\.shop\.none"):
        score("main.shop.none")


def test_p6_1_csv_with_lines_that_are_no_rows(score: Score, tmp_path: Path) -> None:
    """Every line is scored, or told of with its file and number."""
    lines = [f"{x!r},{y!r},n{at}" for at, (x, y) in enumerate(ROWS.to_numpy().tolist())]
    lines[3], lines[40] = "1.5,oops,n3", "1.5,2.5"
    lines[50] = ",2.5,n50"
    (tmp_path / "a.csv").write_text("\n".join(["x,y,note", *lines[:30]]) + "\n")
    (tmp_path / "b.csv").write_text("\n".join(["x,y,note", *lines[30:]]) + "\n")
    assert counts(score(tmp_path / "*.csv", chunk_rows=25)) == (60, 57, 3)
    scored = read(tmp_path / "scored").sort_values("note", key=lambda notes: notes.str[1:].astype(int))
    assert scored["prediction"].tolist() == [label for at, label in enumerate(LABELS) if at not in {3, 40, 50}]
    failed = read(tmp_path / "scored_errors").sort_values(["source", "position"])
    assert [(Path(row.source).name, row.position) for row in failed.itertuples()] == [
        ("a.csv", 3),
        ("b.csv", 10),
        ("b.csv", 20),
    ]
    first, second, third = failed["reason"]
    assert first == "column y: got 'oops'; wanted double"
    assert second == "it has 2 values; wanted 3"
    assert "NaN" in third
    assert json.loads(failed["row"].iloc[2]) == {"x": None, "y": 2.5, "note": "n50"}


def test_p6_1_json_lines_with_lines_that_are_no_rows(score: Score, tmp_path: Path) -> None:
    records = ROWS.assign(tags=[["a", "b"]] * 60).to_dict(orient="records")
    lines = [json.dumps(record) for record in records]
    lines[7], lines[8] = '{"x": 1', '{"x": "one", "y": 2, "tags": []}'
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    assert counts(score(tmp_path / "rows.jsonl", target_format="parquet")) == (60, 58, 2)
    scored = read(tmp_path / "scored")
    assert scored["prediction"].tolist() == [label for at, label in enumerate(LABELS) if at not in {7, 8}]
    assert scored["tags"].map(list).tolist() == [["a", "b"]] * 58
    assert sorted(read(tmp_path / "scored_errors")["position"]) == [7, 8]


def test_p6_1_append_overwrite_and_merge(score: Score, tmp_path: Path) -> None:
    rows, other = tmp_path / "rows.parquet", tmp_path / "other.parquet"
    pq.write_table(table(ROWS), rows)
    double = pd.concat([ROWS[:5], ROWS[5:10], ROWS[:3]], ignore_index=True)
    ids = [*range(100, 105), *range(5, 10), 100, 101, 5]
    pq.write_table(pa.table({"x": double["x"], "y": double["y"], "id": pa.array([*ids[:-1], None])}), other)
    score(rows)
    assert counts(score(rows, again=True)) == (60, 60, 0)
    assert len(read(tmp_path / "scored")) == 120
    score(rows, mode="overwrite")
    assert len(read(tmp_path / "scored")) == 60

    done = score(other, mode="merge", keys=["id"])
    assert (*counts(done), done.rows_superseded) == (13, 10, 1, 2)
    merged = read(tmp_path / "scored").set_index("id")
    assert len(merged) == 65
    assert merged.loc[100, "x"] == ROWS["x"][0]
    assert set(merged[merged["run_id"] == done.run_id].index) == {*range(100, 105), *range(5, 10)}
    (failed,) = read(tmp_path / "scored_errors").itertuples()
    assert failed.reason == "it has no value for its key (id)"

    with pytest.raises(InvalidParameterValue, match="has other columns: more is missing there"):
        score(write(tmp_path / "more.parquet", table(ROWS, more=1)))
    score(tmp_path / "more.parquet", mode="overwrite")
    assert list(read(tmp_path / "scored"))[3] == "more"


def write(path: Path, rows: pa.Table) -> Path:
    pq.write_table(rows, path)
    return path


def test_p6_1_numbers_of_other_types_categories_and_no_rows_at_all(score: Score, tmp_path: Path) -> None:
    whole = pd.DataFrame({"x": [1, 5, 7, 2**53 + 1], "y": [2, 3, 8, 0], "z": pd.Categorical(["a", "b", "a", "b"])})
    done = score(write(tmp_path / "whole.parquet", table(whole)))
    assert counts(done) == (4, 3, 1)  # 2**53 + 1 is no double
    assert read(tmp_path / "scored")["prediction"].tolist() == [False, True, False]
    assert read(tmp_path / "scored")["z"].tolist() == ["a", "b", "a"]
    none = write(tmp_path / "none.parquet", table(whole).slice(0, 0))
    assert counts(score(none)) == (0, 0, 0)
    assert len(read(tmp_path / "scored")) == 3
    score(none, mode="overwrite")
    assert DeltaTable(tmp_path / "scored").file_uris() == []


def test_p6_1_a_table_with_partitions_is_appended_to(score: Score, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.parquet", table(ROWS, day="mon"))
    score(rows, "first")
    first = DeltaTable(tmp_path / "first").to_pyarrow_dataset().to_table()
    write_deltalake(tmp_path / "scored", first, partition_by=["day"])
    assert counts(score(write(rows, table(ROWS, day="tue")), chunk_rows=25)) == (60, 60, 0)
    assert read(tmp_path / "scored").shape[0] == 120
    by_day = DeltaTable(tmp_path / "scored").to_pyarrow_dataset().to_table(columns=["day"]).to_pandas()
    assert by_day["day"].value_counts().to_dict() == {"mon": 60, "tue": 60}
    with pytest.raises(InvalidParameterValue, match="has partitions"):
        score(rows, mode="overwrite")


def test_p6_1_bad_arguments_are_told_before_anything_is_written(score: Score, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.parquet", table(ROWS))
    for message, options in {
        "mode: got 'replace'; wanted one of append, overwrite, merge": {"mode": "replace"},
        "key: got none": {"mode": "merge"},
        "key: got nope; wanted columns of the source, x, y, id": {"mode": "merge", "keys": ["nope"]},
        "chunk_rows: got 0": {"chunk_rows": 0},
        "params: got depth; the model's signature has none": {"params": {"depth": 1}},
        "version or timestamp is for Delta": {"version": 1},
        "it has columns x, which the target gets": {"prediction_column": "x"},
    }.items():
        with pytest.raises(InvalidParameterValue, match=message):
            score(rows, **options)
    with pytest.raises(InvalidParameterValue, match=r"do not fit the model's signature: .*float64"):
        score(write(tmp_path / "texts.parquet", table(ROWS.astype(str))))
    with pytest.raises(ResourceDoesNotExist, match="no file or folder"):
        score(tmp_path / "nowhere.parquet")
    assert not (tmp_path / "scored").exists()
    assert not list((tmp_path / "home/batch").iterdir())


def test_p6_2_only_the_poison_rows_fail_or_the_first_one_stops_the_run(score: Score, tmp_path: Path) -> None:
    poisoned = ROWS.copy()
    poisoned.loc[[4, 5, 59], "x"] = [np.nan, np.inf, np.nan]
    rows = write(tmp_path / "rows.parquet", table(poisoned))
    with pytest.raises(BadRequest, match=r"row 4 of .*rows\.parquet: ValueError: Input X contains NaN"):
        score(rows, on_error="stop", chunk_rows=10)
    assert counts(score(rows, chunk_rows=10)) == (60, 57, 3)
    scored = read(tmp_path / "scored")
    assert scored["prediction"].tolist() == [label for at, label in enumerate(LABELS) if at not in {4, 5, 59}]
    failed = read(tmp_path / "scored_errors")
    assert failed["position"].tolist() == [4, 5, 59]
    assert json.loads(failed["row"][1]) == {"x": "inf", "y": ROWS["y"][5], "id": 5}
    assert list(failed) == [
        *("row", "source", "position", "reason"),
        *("model_name", "model_version", "run_id", "failed_at"),
    ]


def test_p6_2_a_row_that_kills_its_process_fails_alone(score: Score, tmp_path: Path) -> None:
    signature = ModelSignature(inputs=Schema([ColSpec(DataType.string, "do")]))
    mlflow.pyfunc.save_model(
        tmp_path / "deadly",
        python_model=Path(__file__).parents[1] / "support/bad_model.py",
        signature=signature,
        pip_requirements=["mlflow"],
    )
    rows = write(tmp_path / "rows.parquet", pa.table({"do": ["x", "segfault"]}))
    done = score(rows, model=str(tmp_path / "deadly"), processes=2, target_format="parquet")
    assert counts(done) == (2, 1, 1)
    (failed,) = read(tmp_path / "scored_errors").itertuples()
    assert (failed.position, failed.reason) == (1, "the process that scored it was killed by SIGSEGV")


def test_p6_3_a_run_goes_on_only_with_the_rows_it_began_with(score: Score, tmp_path: Path) -> None:
    poisoned = ROWS.copy()
    poisoned.loc[45, "x"] = np.nan
    rows = write(tmp_path / "rows.parquet", table(poisoned))
    for _ in range(2):
        with pytest.raises((BadRequest, ResourceConflict)) as refused:
            score(rows, on_error="stop", chunk_rows=10)
    (run,) = (RunFolder(path) for path in (tmp_path / "home/batch").iterdir())
    assert str(refused.value) == (
        f"Batch run {run.run_id} of the same arguments is not done; 40 rows of it are. 'penstock batch resume "
        f"{run.run_id}' goes on with it; --again begins another."
    )
    assert len(read(tmp_path / "scored")) == 40
    write(rows, table(ROWS))
    ended = penstock("batch", "resume", run.run_id, home=tmp_path / "home")
    assert ended.returncode == 5
    assert "rows.parquet is not as it was when the run began" in ended.stderr


def test_p6_2_the_command_scores_what_an_alias_or_a_stage_stands_for(stack: Stack, tmp_path: Path) -> None:
    use_registry(stack)
    mlflow.set_experiment("batch")
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            MODEL,
            name="model",
            signature=infer_signature(ROWS, MODEL.predict(ROWS)),
            serialization_format="cloudpickle",
            registered_model_name="batch_model",
            pip_requirements=["scikit-learn"],
        )
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("batch_model", "champion", "1")
    with pytest.warns(FutureWarning, match="stages"):
        client.transition_model_version_stage("batch_model", "1", "Production")
    poisoned = ROWS.copy()
    poisoned.loc[3, "x"] = np.nan
    write_deltalake(stack.home / "warehouse/main/default/batch_rows", table(poisoned))

    arguments = ("--source", "main.default.batch_rows", "--target", "main.default.batch_scored")
    ended = penstock("batch", "run", "--model", "models:/batch_model@champion", *arguments, "--json", home=stack.home)
    assert ended.returncode == 7, ended.stderr
    told = json.loads(ended.stdout)
    assert {name: told[name] for name in ("rows_in", "rows_out", "rows_failed")} == {
        "rows_in": 60,
        "rows_out": 59,
        "rows_failed": 1,
    }
    assert told["seconds"] > 0
    assert f"Batch run {told['run_id']}" in ended.stderr
    assert "60 rows read, 59 written, 1 failed" in ended.stderr
    scored = read(stack.home / "warehouse/main/default/batch_scored")
    provenance = scored[["model_name", "model_version", "run_id"]].drop_duplicates()
    assert provenance.to_numpy().tolist() == [["batch_model", "1", told["run_id"]]]

    # The same model, where no stack runs on the home.
    own = tmp_path / "home"
    arguments = ("--source", str(stack.home / "warehouse/main/default/batch_rows"), "--target", str(tmp_path / "t"))
    stage = ("--model", "models:/batch_model/Production", *arguments)
    ended = penstock("batch", "run", *stage, home=own)
    assert ended.returncode == 3
    assert "--tracking-uri" in ended.stderr
    served, token = ("--tracking-uri", stack.url), {"MLFLOW_TRACKING_TOKEN": stack.token}
    ended = penstock("batch", "run", *stage, *served, "--on-error", "stop", home=own, env=token)
    assert ended.returncode == 1, ended.stderr
    assert "row 3 of" in ended.stderr
    wanted = (*served, *arguments)
    ended = penstock("batch", "run", "--model", "models:/none/1", *wanted, home=own, env=token)
    assert ended.returncode == 4, ended.stderr
