"""What a run may be told, and what its target's columns are."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from penstock.batch.plan import (
    PROVENANCE,
    Format,
    Mode,
    Plan,
    Source,
    Target,
    check_plan,
    error_location,
    format_of,
    output_names,
    source_columns,
)
from penstock.domain.errors import InvalidParameterValue

PLAN = Plan("models:/m/1", Source("a.b.c"), Target("a.b.scored"))
NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(PLAN, model=" "), "model: got nothing"),
        (replace(PLAN, source=Source("")), "source: got nothing"),
        (replace(PLAN, source=Source("a.b.c.d")), "source: got 'a.b.c.d'; wanted table"),
        (replace(PLAN, source=Source("t", version=1, timestamp=NOW)), "a version and a timestamp"),
        (replace(PLAN, source=Source("t", version=-1)), "wanted a whole number from 0"),
        (replace(PLAN, source=Source("t", timestamp=NOW.replace(tzinfo=None))), "without a time zone"),
        (replace(PLAN, source=Source("x.csv", version=1)), "is for Delta tables; got csv"),
        (replace(PLAN, source=Source("t", Format.CSV)), "'t' is the name of a Delta table"),
        (replace(PLAN, target=Target("")), "target: got nothing"),
        (replace(PLAN, target=Target("out/*")), "wanted one folder"),
        (replace(PLAN, target=Target("s3://bucket/x")), "wanted a folder of this machine"),
        (replace(PLAN, target=Target("./out", Format.CSV)), "wanted delta or parquet"),
        (replace(PLAN, target=Target("t", Format.PARQUET)), "'t' is the name of a Delta table"),
        (replace(PLAN, target=Target("t", mode=Mode.MERGE)), "key: got none"),
        (replace(PLAN, target=Target("t", keys=("id",))), "got id with mode append"),
        (replace(PLAN, target=Target("t", mode=Mode.MERGE, keys=("id", "id"))), "wanted each column once"),
        (replace(PLAN, target=Target("./t", Format.PARQUET, Mode.MERGE, ("id",))), "got merge for Parquet files"),
        (replace(PLAN, prediction_column="run_id"), "wanted a name that no other column has"),
        (replace(PLAN, chunk_rows=0), "chunk_rows: got 0"),
        (replace(PLAN, processes=0), "processes: got 0"),
    ],
)
def test_what_cannot_be_is_told_by_its_field(changed: Plan, message: str) -> None:
    with pytest.raises(InvalidParameterValue, match=message.replace("*", r"\*")):
        check_plan(changed)


def test_a_plan_that_can_be_is_left_as_it_is() -> None:
    assert check_plan(PLAN) == PLAN


@pytest.mark.parametrize(
    ("location", "table", "kept"),
    [
        ("sales", "main.default.sales", None),
        ("Shop.Sales", "main.shop.sales", None),
        ("./sales", None, None),
        ("/data/sales", None, None),
        ("sales.csv", None, Format.CSV),
        ("sales.JSONL.gz", None, Format.JSON),
        ("sales*", None, None),
        ("part-*.parquet", None, Format.PARQUET),
    ],
)
def test_a_name_is_told_from_a_path(location: str, table: str | None, kept: Format | None) -> None:
    found = Source(location).table
    assert (None if found is None else str(found)) == table
    assert (None if found else format_of(location)) == kept


def test_columns_of_the_target() -> None:
    assert output_names(PLAN, ["a", "b"]) == ("a", "b", "prediction", *PROVENANCE)
    wanted = replace(PLAN, has_probabilities=True, prediction_column="p")
    assert output_names(wanted, ["a"]) == ("a", "p", "probabilities", *PROVENANCE)
    with pytest.raises(InvalidParameterValue, match="columns prediction, run_id, which"):
        output_names(PLAN, ["a", "Prediction", "run_id"])


def test_the_error_table_lies_beside_the_target() -> None:
    assert error_location(Target("scored")) == "main.default.scored_errors"
    assert error_location(Target("out/scored/")) == "out/scored_errors"


def test_which_columns_the_model_gets() -> None:
    mapped = replace(PLAN, columns={"x": "Width"})
    assert source_columns(mapped, ["x", "y"], (), ["y", "Width", "id"]) == {"x": "Width", "y": "y"}
    assert source_columns(PLAN, ["x", "y"], {"y"}, ["x"]) == {"x": "x"}
    assert source_columns(PLAN, None, (), ["b", "a"]) == {"b": "b", "a": "a"}
    assert source_columns(replace(PLAN, inputs=("a",)), None, (), ["b", "a"]) == {"a": "a"}
    for plan, names, message in (
        (PLAN, ["x", "y"], "wants columns y, which it has not"),
        (replace(PLAN, inputs=("x",)), ["x"], "map them with columns"),
        (mapped, None, "say which columns it gets with inputs"),
        (replace(PLAN, inputs=("z",)), None, "wants columns z"),
    ):
        with pytest.raises(InvalidParameterValue, match=message):
            source_columns(plan, names, (), ["x"])
