"""The typed view of a payload table: what was sent comes back typed, a row for each input row."""

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.catalog.tables import Tables
from penstock.catalog.typed_view import layout_of
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.signature import Signature
from support.payload_tables import DAY, logged, write_payload
from unit.catalog.source import FixedSource

COLUMNS = [
    {"name": "x", "type": "double", "required": True},
    {"name": "n", "type": "long", "required": True},
    {"name": "s", "type": "string", "required": False},
    {"name": "b", "type": "boolean", "required": False},
    {"name": "raw", "type": "binary", "required": False},
    {"name": "t", "type": "datetime", "required": False},
]
LABELS = [{"name": "label", "type": "string"}, {"name": "p", "type": "double"}]
SIGNATURE = Signature(COLUMNS, LABELS)
LAYOUT = layout_of({"e1": SIGNATURE}, ())
SENT = {
    "x": "x",
    "n": "n",
    "s": "s",
    "b": "b",
    "raw": "raw",
    "t": "t",
    "prediction_label": "label",
    "prediction_p": "p",
}

numbers = st.floats(allow_nan=False, width=64)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
records = st.fixed_dictionaries(
    {"x": st.none() | numbers, "n": st.integers(-(2**63), 2**63 - 1)},
    optional={
        "s": st.none() | words,
        "b": st.none() | st.booleans(),
        "raw": st.none() | st.binary(max_size=8),
        "t": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - the type has no zone
    },
)
answers = st.fixed_dictionaries({"label": words, "p": st.none() | numbers})


def as_json(record: dict[str, Any]) -> dict[str, Any]:
    """A record as a client sends it."""
    sent = dict(record)
    if isinstance(sent.get("raw"), bytes):
        sent["raw"] = base64.encodebytes(sent["raw"]).decode()
    if isinstance(sent.get("t"), datetime):
        sent["t"] = sent["t"].isoformat()
    return sent


def as_records(sent: list[dict[str, Any]]) -> dict[str, Any]:
    return {"dataframe_records": sent}


def as_split(sent: list[dict[str, Any]]) -> dict[str, Any]:
    columns = sorted({name for record in sent for name in record}, reverse=True)
    return {"dataframe_split": {"columns": columns, "data": [[r.get(c) for c in columns] for r in sent]}}


def as_instances(sent: list[dict[str, Any]]) -> dict[str, Any]:
    return {"instances": sent}


def as_inputs(sent: list[dict[str, Any]]) -> dict[str, Any]:
    columns = {name for record in sent for name in record}
    return {"inputs": {name: [record.get(name) for record in sent] for name in columns}}


Form = Callable[[list[dict[str, Any]]], dict[str, Any]]
FORMS: list[Form] = [as_records, as_split, as_instances, as_inputs]


@pytest.mark.parametrize("form", FORMS)
@given(sent=st.lists(st.tuples(records, answers), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_p5_4_what_was_sent_comes_back_typed(form: Form, sent: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    request = json.dumps(form([as_json(record) for record, _ in sent]))
    response = json.dumps({"predictions": [answer for _, answer in sent]})
    rows = LAYOUT.rows("e1", request, response)
    assert [row["position"] for row in rows] == list(range(len(sent)))
    for row, (record, answer) in zip(rows, sent, strict=True):
        both = {**record, **answer}
        assert {name: row[name] for name in SENT} == {name: both.get(own) for name, own in SENT.items()}


def view(tmp_path: Path, signatures: dict[str, Signature], *rows: dict[str, Any], legacy: bool = False) -> Tables:
    folder = write_payload(tmp_path / "payload", *rows, legacy=legacy)
    return Tables(FixedSource({"main.default.x_payload": str(folder)}, signatures))


def simple(*types: str, output: str = "double") -> Signature:
    return Signature([{"name": chr(97 + at), "type": kind} for at, kind in enumerate(types)], [{"type": output}])


def test_p5_4_the_view_has_types_position_and_predictions(tmp_path: Path) -> None:
    time = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    sent = [
        {"x": 1, "n": 2.0, "s": "a", "b": True, "raw": "aGk=\n", "t": time.isoformat(), "extra": [1]},
        {"x": None, "n": 3},
    ]
    row = logged({"dataframe_records": sent, "params": {"temp": 1}}, [{"label": "yes", "p": 0.5}, {"label": "no"}])
    found = view(tmp_path, {"e1": SIGNATURE}, row).rows("x_view").table
    assert {f.name: str(f.type) for f in found.schema} == {
        "databricks_request_id": "string",
        "client_request_id": "string",
        "request_date": "date32[day]",
        "request_time": "timestamp[us, tz=UTC]",
        "served_entity_id": "string",
        "requester": "string",
        "position": "int64",
        "x": "double",
        "n": "int64",
        "s": "string",
        "b": "bool",
        "raw": "binary",
        "t": "timestamp[us]",
        "prediction_label": "string",
        "prediction_p": "double",
    }
    first, second = found.to_pylist()
    assert (first["x"], first["n"], first["raw"], first["t"]) == (1.0, 2, b"hi", time.replace(tzinfo=None))
    assert (first["prediction_label"], first["prediction_p"], first["request_date"]) == ("yes", 0.5, DAY)
    assert [second[name] for name in ("position", "x", "n", "s", "t", "prediction_p")] == [1, None, 3, None, None, None]


def test_p5_4_requests_without_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    good = {"dataframe_records": [{"a": 1}]}
    signatures = {"e1": simple("long"), "e2": simple("long", "double")}
    tables = view(
        tmp_path,
        signatures,
        logged(good, [1.0]),
        logged(good, [1.0], status_code=400),
        logged(good, [1.0], request=None),
        logged(good, [1.0], response=None),
        logged("a,b\n1,2", [1.0]),
        logged([1], [1.0]),
        logged({"messages": []}, [1.0]),
        logged({**good, "inputs": [1]}, [1.0]),
        logged(good, [1.0, 2.0]),
        logged(good, [{"a": 1, "b": 2}]),
        logged(good, None, response='{"choices": []}'),
        logged({"dataframe_records": [{"a": "many"}]}, [1.0]),
        logged({"dataframe_records": [{"a": 2**70}]}, [1.0]),
        logged({"dataframe_records": [{"a": 1}, 7]}, [1.0, 1.0]),
        logged({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, [1.0]),
        logged({"dataframe_split": {"data": 1}}, [1.0]),
        logged({"inputs": {"a": [1, 2], "b": [1]}}, [1.0], served_entity_id="e2"),
        logged({"instances": [[1, 2, 3]]}, [1.0], served_entity_id="e2"),
        logged(good, [1.0], served_entity_id="gone"),
        logged("[" * 100_000, [1.0]),
    )
    found = tables.rows("x_view")
    assert found.table.num_rows == 1
    assert sum(found.left_out.values()) == 19
    assert found.left_out == {
        "request: no JSON": 2,
        "request: a value of column a is not of its type": 2,
        "request: columns of different lengths": 1,
        "request: a row without names is not as long as the model's columns": 1,
        "request: data of dataframe_split is no list of lists": 1,
        "request: no object": 1,
        "request: none of the input formats": 1,
        "request: not logged": 1,
        "request: records are no list of objects": 1,
        "request: rows of dataframe_split are not as long as its columns": 1,
        "request: several input formats": 1,
        "response: a value of column without name is not of its type": 1,
        "response: no predictions": 1,
        "response: not logged": 1,
        "response: not one prediction for each row": 1,
        "model: not known any more": 1,
        "status: 400": 1,
    }
    shown = tables.show("main.default.x_view")
    assert (shown.rows, shown.left_out, shown.version) == (1, found.left_out, None)


def test_p5_4_a_condition_is_for_rows_and_for_what_is_left_out(tmp_path: Path) -> None:
    good, next_day = {"inputs": [1]}, DAY + timedelta(days=1)
    rows = [logged(good, [1.0]), logged(good, [2.0], day=next_day), logged(good, [3.0], day=next_day, status_code=400)]
    found = view(tmp_path, {"e1": simple("long")}, *rows).rows("x_view", f"request_date = date '{next_day}'")
    assert found.table["prediction"].to_pylist() == [2.0]
    assert found.left_out == {"status: 400": 1}
    assert list(found.to_pandas()["a"]) == [1]


def test_p5_4_nan_is_read_where_mlflow_takes_and_writes_it(tmp_path: Path) -> None:
    row = logged('{"inputs": [NaN, Infinity]}', None, response='{"predictions": [NaN, -Infinity]}')
    first, second = view(tmp_path, {"e1": simple("double")}, row).rows("x_view").table.to_pylist()
    assert math.isnan(first["a"])
    assert math.isnan(first["prediction"])
    assert (second["a"], second["prediction"]) == (math.inf, -math.inf)


def test_p5_4_versions_share_a_view_and_differ_in_columns(tmp_path: Path) -> None:
    """Types that differ become the wider one; rows without names are read in the order of their own model."""
    old = Signature([{"name": "b", "type": "string"}, {"name": "a", "type": "integer"}], [{"type": "long"}])
    rows = [
        logged({"instances": [[7, 1.5]]}, [0.5], served_entity_id="new"),
        logged({"instances": [["seven", 2]]}, [3], served_entity_id="old"),
    ]
    found = view(tmp_path, {"new": simple("long", "double"), "old": old}, *rows).rows("x_view").table
    assert {f.name: str(f.type) for f in found.schema if f.name in "ab"} == {"a": "int64", "b": "string"}
    by_entity = {row["served_entity_id"]: (row["a"], row["b"], row["prediction"]) for row in found.to_pylist()}
    assert by_entity == {"new": (7, "1.5", 0.5), "old": (2, "seven", 3.0)}


def test_p5_4_tensors_lists_objects_and_maps(tmp_path: Path) -> None:
    tensor = Signature(
        [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}],
        [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}],
    )
    row = logged({"inputs": [[1, 2, 3], [4, 5, 6]]}, [0, 1])
    found = view(tmp_path / "tensor", {"e1": tensor}, row).rows("x_view").table.to_pylist()
    assert [(row["input"], row["prediction"]) for row in found] == [([1.0, 2.0, 3.0], 0), ([4.0, 5.0, 6.0], 1)]
    nested = Signature(
        [
            {"name": "l", "type": "array", "items": {"type": "long"}},
            {"name": "o", "type": "object", "properties": {"k": {"type": "string"}, "f": {"type": "double"}}},
            {"name": "m", "type": "map", "values": {"type": "double"}},
        ],
        [{"name": "scores", "type": "array", "items": {"type": "double"}}],
    )
    row = logged({"dataframe_records": [{"l": [1], "o": {"k": "v"}, "m": {"a": 1}}]}, [{"scores": [0.1]}])
    (one,) = view(tmp_path / "nested", {"e1": nested}, row).rows("x_view").table.to_pylist()
    assert (one["l"], one["o"], one["m"]) == ([1], {"k": "v", "f": None}, [("a", 1.0)])
    assert one["prediction_scores"] == [0.1]


def test_p5_4_without_a_signature_rows_are_json(tmp_path: Path) -> None:
    rows = [
        logged({"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"]]}}, [{"y": 1}]),
        logged({"instances": [{"a": 2}]}, ["text"]),
        logged({"inputs": {"a": [3, 4]}}, [[1], [2]]),
    ]
    found = view(tmp_path, {}, *rows).rows("x_view").table.to_pylist()
    assert sorted((row["input"], row["prediction"]) for row in found) == [
        ('{"a": 1, "b": "x"}', '{"y": 1}'),
        ('{"a": 2}', "text"),
        ('{"a": 3}', "[1]"),
        ('{"a": 4}', "[2]"),
    ]


def test_p5_4_names_that_are_taken_get_a_number(tmp_path: Path) -> None:
    names = ("position", "Request_Date", "A", "a", "prediction", "prediction_a")
    signature = Signature(
        [{"name": name, "type": "long"} for name in names],
        [{"name": "prediction", "type": "long"}, {"name": "a", "type": "long"}],
    )
    row = logged({"dataframe_records": [{name: at for at, name in enumerate(names)}]}, [{"prediction": 10, "a": 11}])
    (found,) = view(tmp_path, {"e1": signature}, row).rows("x_view").table.to_pylist()
    assert {name: found[name] for name in found if name not in ("requester", "position", "request_date")} == {
        **{k: found[k] for k in ("databricks_request_id", "client_request_id", "request_time", "served_entity_id")},
        "position_2": 0,
        "Request_Date_2": 1,
        "A": 2,
        "a_2": 3,
        "prediction": 4,
        "prediction_a": 5,
        "prediction_2": 10,
        "prediction_a_2": 11,
    }


def test_p5_4_the_older_layout_tells_its_models_by_name_and_version(tmp_path: Path) -> None:
    row = logged({"instances": [[1, 2.5]]}, [3.5])
    old = {key: row[key] for key in ("databricks_request_id", "status_code", "request", "response")}
    old |= {"date": row["request_date"], "request_metadata": [("model_name", "m"), ("model_version", "2")]}
    signatures = {"m/1": simple("double"), "m/2": simple("long", "double")}
    (found,) = view(tmp_path, signatures, old, legacy=True).rows("x_view").table.to_pylist()
    assert (found["a"], found["b"], found["prediction"], found["date"]) == (1, 2.5, 3.5, DAY)


def test_p5_4_a_view_can_be_joined_with_itself_and_its_payload(tmp_path: Path) -> None:
    tables = view(tmp_path, {"e1": simple("long")}, logged({"inputs": [1, 2]}, [1.0, 2.0], databricks_request_id="q"))
    sql = """
        SELECT count(*) AS n, max(p.status_code) AS status FROM x_view AS v JOIN main.default.x_view AS w
        USING (databricks_request_id) JOIN x_payload AS p USING (databricks_request_id)
    """
    assert [batch.to_pylist() for batch in tables.sql(sql).batches] == [[{"n": 4, "status": 200}]]


def test_p5_4_rows_are_those_of_views(tmp_path: Path) -> None:
    tables = view(tmp_path, {}, logged({"inputs": [1]}, [1.0]))
    for name in ("x_payload", "x_left_out"):
        with pytest.raises(InvalidParameterValue, match="wanted the name of a view"):
            tables.rows(name)
    with pytest.raises(InvalidParameterValue, match='"nope" not found'):
        tables.rows("x_view", "nope = 1")
