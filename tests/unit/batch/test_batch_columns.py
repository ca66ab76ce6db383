"""What models give, and what sources hold, as columns of a target."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from penstock.batch.columns import Provenance, last_of_each, output_schema, output_table, stored_type
from penstock.batch.model_source import ModelIdentity
from penstock.batch.outputs import NotByRow, column_of
from penstock.batch.plan import Plan, Source, Target
from penstock.domain.errors import InvalidParameterValue
from penstock.flavors.outputs import Records

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("output", "expected", "kind"),
    [
        (np.array([1.5, np.nan]), [1.5, None], pa.float64()),
        (np.array([1, 2], np.int32), [1, 2], pa.int32()),
        (np.array(["a", "b"]), ["a", "b"], pa.string()),
        (np.array([[1, 2], [3, 4]], np.float32), [[1, 2], [3, 4]], pa.list_(pa.float32())),
        (np.zeros((2, 1, 1)), [[[0.0]], [[0.0]]], pa.list_(pa.list_(pa.float64()))),
        (pd.Series([1, 2], index=[7, 9]), [1, 2], pa.int64()),
        (pd.DataFrame({"p": ["x", "y"]}), ["x", "y"], None),
        (pd.DataFrame({"p": [1, 2], "q": ["x", "y"]}), [{"p": 1, "q": "x"}, {"p": 2, "q": "y"}], None),
        (Records(("p", "q"), (np.array([1]), np.array([2]))), [{"p": 1, "q": 2}], None),
        ({"only": np.array([[1.0], [2.0]])}, [[1.0], [2.0]], pa.list_(pa.float64())),
        ([{"a": 1}, {"a": None}], [{"a": 1}, {"a": None}], None),
        (["x", None], ["x", None], pa.string()),
    ],
)
def test_outputs_become_columns(output: Any, expected: list[Any], kind: pa.DataType | None) -> None:
    column = column_of(output, len(expected))
    got = [None if isinstance(value, float) and np.isnan(value) else value for value in column.to_pylist()]
    assert got == expected
    assert kind is None or column.type == kind


@pytest.mark.parametrize("output", [np.array(1.0), np.zeros(3), "text", {"a": np.zeros(2), "b": np.zeros(3)}, None])
def test_an_output_must_have_an_element_for_each_row(output: Any) -> None:
    with pytest.raises(NotByRow, match="was given 2 rows"):
        column_of(output, 2)


def test_types_that_tables_do_not_have_become_others_or_are_refused() -> None:
    kinds = {
        pa.uint8(): pa.int16(),
        pa.uint64(): pa.int64(),
        pa.float16(): pa.float32(),
        pa.large_string(): pa.string(),
        pa.null(): pa.string(),
        pa.dictionary(pa.int8(), pa.string()): pa.string(),
        pa.timestamp("ns"): pa.timestamp("us"),
        pa.timestamp("s", "Europe/Oslo"): pa.timestamp("us", "UTC"),
        pa.date64(): pa.date32(),
        pa.decimal128(9, 2): pa.decimal128(9, 2),
        pa.list_(pa.uint16(), 3): pa.list_(pa.field("element", pa.int32())),
        pa.struct([("a", pa.large_binary())]): pa.struct([("a", pa.binary())]),
    }
    for kind, expected in kinds.items():
        assert stored_type("c", kind) == expected
    for refused in (pa.time64("us"), pa.duration("s")):
        with pytest.raises(InvalidParameterValue, match=r"column c\.inner: type"):
            stored_type("c", pa.struct([("inner", refused)]))


def test_a_target_has_the_sources_columns_the_prediction_and_where_it_comes_from() -> None:
    plan = Plan("models:/m/1", Source("s"), Target("t"))
    table = pa.table({"a": pa.array([1, 2], pa.uint8())})
    schema = output_schema(plan, table.schema, [pa.float32()])
    made = Provenance(ModelIdentity("m", "1"), "r").columns(2, NOW)
    rows = output_table(table, [pa.array([0.5, 1.5], pa.float32())], made, schema).to_pylist()
    told = {"model_name": "m", "model_version": "1", "run_id": "r", "scored_at": NOW}
    assert rows == [{"a": 1, "prediction": 0.5, **told}, {"a": 2, "prediction": 1.5, **told}]


def test_of_rows_with_the_same_keys_the_last_one_counts() -> None:
    table = pa.table({"k": [1, 2, 1, 3, 2], "j": ["a", "b", "a", "c", "x"], "v": [0, 1, 2, 3, 4]})
    assert last_of_each(table, ("k", "j")).column("v").to_pylist() == [1, 2, 3, 4]
    assert last_of_each(table, ("k",)).column("v").to_pylist() == [2, 3, 4]
