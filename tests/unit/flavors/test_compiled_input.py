"""The compiled input, with cases made by hand: what it takes is what MLflow makes of it, all else is left to MLflow."""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, DataType

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import InputReader
from support.compiled.oracle import Oracle, Refused
from support.compiled.sameness import array_difference, difference

F32_MAX = 3.4028234663852886e38
TAKEN: dict[str, list[list[Any]]] = {
    "double": [
        *([1.5], [1, None], [None], [1, 2.5], [2**53 + 1], [2**53 + 1, None], [10**30, 1.5], [2**64 - 1, -1]),
        *([-0.0, 0], [5e-324, -1.7976931348623157e308], [0.1 + 0.2, 2**63], [-(10**300), None]),
    ],
    "float": [[1.1], [1, None], [None], [2**53, -(2**53)], [F32_MAX, -F32_MAX], [1e-46, -0.0], [16777217, 0.1]],
    "long": [[1], [2**63 - 1, -(2**63)], [1.0, 2**53 - 1], [0.0, -3.0]],
    "integer": [[1], [2**31 - 1, -(2**31)], [1.0, 2]],
    "boolean": [[True], [True, None], [None], [True, False], [1, 0], [0]],
    "string": [["a"], ["a", None], [None], ["é", "\U0001f600"], ["1"], [""], ["None", "nan", "2020-01-01"], ["a\x7fb"]],
    "datetime": [
        *(["2020-01-01"], ["2020-02-29T10:11:12", None], [None], ["2020-01-01 10:11:12.123456"]),
        *(["2020-01-01T00:00:00.123", "2020-01-01T23:59:59.000"], ["1700-01-01"], ["2199-12-31"], [None, "1969-12-31"]),
    ],
}
LEFT: dict[str, list[list[Any]]] = {
    "double": [["1.5"], [True], [[1.5]], [{}], [10**400], [1.5, "x"]],
    "float": [["1.5"], [True], [[1.5]], [1e39], [2**53 + 1]],
    "long": [["1"], [True], [None], [1, None], [2**63], [-(2**63) - 1], [1.5], [-0.0], [1.0, 2**53 + 1], [[1]]],
    "integer": [["1"], [True], [None], [2**31], [-(2**31) - 1], [1.5], [2.0**31]],
    "boolean": [["true"], [2], [1, None], [True, 1], [0.0], [[True]]],
    "string": [[1], ["a", 1], [True], [["a"]], [{}]],
    "datetime": [
        *(["2020-02-30"], ["2020-01-01T24:00:00"], ["2020-01-01T00:00:00Z"], ["2020-01-01T00:00:00+01:00"], ["2020"]),
        *(
            ["1600-01-01"],
            ["2300-01-01"],
            ["01/02/2020"],
            ["2020-1-1"],
            ["NaT"],
            [""],
            [1577836800000],
            [[]],
            ["٢020-01-01"],
        ),
    ],
}


@pytest.fixture(autouse=True)
def _warnings_of_mlflow() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def column(type_: str, name: str, *, is_required: bool = True) -> ColSpec:
    return ColSpec(type_, name, required=is_required)


def bodies(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Columns in all the forms that clients send."""
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = [list(record.values()) for record in records]
    backwards = [row[::-1] for row in rows]
    yield {"dataframe_records": records}
    yield {"dataframe_split": {"columns": list(columns), "data": rows}}
    yield {
        "dataframe_split": {"columns": list(columns)[::-1], "index": list(range(5, 5 + len(rows))), "data": backwards}
    }
    yield {"instances": records}
    yield {"instances": columns}
    yield {"inputs": records}
    yield {"inputs": columns}
    if len(rows) == 1:
        yield {"inputs": records[0]}


def check_taken(oracle: Oracle, reader: InputReader, body: bytes) -> None:
    ours = reader.read(body)
    assert ours is not None, body
    theirs, client_request_id = oracle.read(body)
    assert difference(reader.frame([ours]), theirs) is None, body
    assert ours.rows == len(theirs)
    assert ours.client_request_id == client_request_id
    if reader.matrix_dtype is None:
        assert reader.array([ours]) is None
    else:
        matrix = reader.array([ours])
        assert matrix is not None
        assert array_difference(matrix, theirs.to_numpy()) is None, body


def compiled(*specs: ColSpec) -> tuple[Oracle, InputReader]:
    oracle = Oracle(specs)
    reader = compile_input(oracle.metadata)
    assert reader is not None
    return oracle, reader


@pytest.mark.parametrize("type_", TAKEN)
def test_p4_1_what_is_taken_is_what_mlflow_makes_of_it(type_: str) -> None:
    for columns in ({"a": column(type_, "a")}, {"b": column(type_, "b"), "a": column(type_, "a", is_required=False)}):
        oracle, reader = compiled(*columns.values())
        for values in TAKEN[type_]:
            for document in bodies(dict.fromkeys(columns, values)):
                check_taken(oracle, reader, json.dumps(document).encode())


@pytest.mark.parametrize("type_", LEFT)
def test_p4_1_all_else_is_left_to_mlflow(type_: str) -> None:
    _, reader = compiled(column(type_, "a"), column("double", "b"))
    for values in LEFT[type_]:
        for document in bodies({"a": values, "b": [1.5] * len(values)}):
            assert reader.read(json.dumps(document).encode()) is None, document


@pytest.mark.parametrize(
    "names", [["2020-01-01", "2020-01-01T00:00:00"], ["2020-01-01 00:00:00", "2020-01-01T00:00:00"]]
)
def test_p4_1_two_forms_of_datetimes_only_where_mlflow_takes_them(names: list[str]) -> None:
    oracle, reader = compiled(column("datetime", "a"))
    split, inputs = ({"dataframe_split": {"columns": ["a"], "data": [[n] for n in names]}}, {"inputs": {"a": names}})
    assert reader.read(json.dumps(split).encode()) is None
    with pytest.raises(Refused):
        oracle.read(json.dumps(split).encode())
    check_taken(oracle, reader, json.dumps(inputs).encode())


MIXED = {
    "d": ("double", [1.5, None]),
    "s": ("string", ["a", None]),
    "l": ("long", [1, 2]),
    "t": ("datetime", ["2020-01-01", None]),
    "n": ("string", [None, None]),
    "b": ("boolean", [True, None]),
    "f": ("float", [1, 2.5]),
    "ï": ("integer", [1, -2]),
}
OPTIONAL = frozenset({"t", "n", "ï"})


def mixed() -> tuple[Oracle, InputReader]:
    return compiled(*(column(type_, name, is_required=name not in OPTIONAL) for name, (type_, _) in MIXED.items()))


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("left_out", [[], ["t"], ["n", "ï"], sorted(OPTIONAL)])
def test_p4_1_types_side_by_side_and_optional_columns_left_out(rows: int, left_out: list[str]) -> None:
    oracle, reader = mixed()
    columns = {name: values[:rows] for name, (_, values) in MIXED.items() if name not in left_out}
    for document in bodies(columns):
        check_taken(oracle, reader, json.dumps(document).encode())
        check_taken(oracle, reader, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    ("gap", "is_taken"), [("d", True), ("s", True), ("t", True), ("f", True), ("l", False), ("b", False)]
)
def test_p4_1_a_record_may_leave_out_what_may_be_null(gap: str, *, is_taken: bool) -> None:
    oracle, reader = mixed()
    first, second = ({name: values[at] for name, (_, values) in MIXED.items()} for at in range(2))
    del second[gap]
    body = json.dumps({"dataframe_records": [first, second]}).encode()
    if is_taken:
        check_taken(oracle, reader, body)
    else:
        assert reader.read(body) is None


def test_p4_1_a_gap_is_not_a_null_where_no_row_has_a_string() -> None:
    _, reader = compiled(column("double", "d"), column("string", "s", is_required=False))
    assert reader.read(b'{"dataframe_records": [{"d": 1, "s": null}, {"d": 2}]}') is None


@pytest.mark.parametrize("types", [("long", "integer"), ("long", "double"), ("integer", "double"), ("long", "float")])
def test_p4_1_numbers_of_two_types_in_one_matrix(types: tuple[str, str]) -> None:
    oracle, reader = compiled(column(types[0], "a"), column(types[1], "b"))
    assert (reader.matrix_dtype is None) == ("float" in types)
    for document in bodies({"a": [2**30 + 1, -5], "b": [3, 4]}):
        check_taken(oracle, reader, json.dumps(document).encode())


PAIR = ('{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}', '{"inputs": {"a": [1], "b": [2]}')
READ = [
    b'{"dataframe_records": [{"a": 1, "b": 2}]}',
    b' {"dataframe_records" : [ {"b": 2, "a": 1E0} ] }\r\n',
    b'{"dataframe_records": [{"a": 0, "a": 1, "b": 2}]}',
    b'{"dataframe_records": [], "dataframe_records": [{"a": -0, "b": 1e-400}]}',
    b'{"dataframe_records": [{"a": 1, "b": 2, "c": {"x": [1, {}]}}, {"b": 1, "a": 2, "inputs": null}]}',
    b'{"dataframe_records": [{"a": 0.1000000000000000055511151231257827, "b": 123456789012345678901234567890}]}',
    b'{"dataframe_split": {"index": [7], "columns": ["x", "b", "a"], "data": [[["y"], 2, 1]]}}',
    b'{"dataframe_split": {"index": [7, 7, -1], "columns": ["a", "b"], "data": [[1, 2], [3, 4], [5, 6]]}}',
    b'{"dataframe_split": {"index": ["x"], "columns": ["a", "b"], "data": [[1, 2]]}}',
    b'{"dataframe_split": {"index": null, "columns": ["a", "b"], "data": [[1, 2]]}}',
    b'{"instances": [{"a": 1, "b": 2, "c": "x"}, {"c": 5, "a": 1, "b": null}]}',
    b'{"inputs": [{"a": 1, "b": 2, "c": "x"}, {"c": 5, "a": 1, "b": null}]}',
    b'{"inputs": {"a": [1, 2], "c": ["x", null], "b": [2, null]}}',
    b'{"inputs": {"b": 1, "a": 2}}',
    *(text.encode() + b', "client_request_id": "me"}' for text in PAIR),
    *(text.encode() + b', "client_request_id": null}' for text in PAIR),
]
UNREAD = [
    *(b"", b"{}", b"[]", b"1", b"null", b'"x"', b"{", b'{"dataframe_records": [{"a": 1, "b": 2}]} x', b"[" * 100_000),
    *(text.encode() + b', "params": {}}' for text in PAIR),
    *(text.encode() + b', "usage_context": {}}' for text in PAIR),
    *(text.encode() + b', "client_request_id": 5}' for text in PAIR),
    *(text.encode() + b', "stream": true}' for text in PAIR),
    *(text.encode() + b', "messages": []}' for text in PAIR),
    *(text.encode() + b', "instances": []}' for text in PAIR),
    *(text.encode() + b', "signature_name": "x"}' for text in PAIR),
    '\ufeff{"inputs": {"a": [1], "b": [2]}}'.encode(),
    '{"inputs": {"a": [1], "b": [2]}}'.encode("utf-16"),
    *(
        b'{"inputs": {"a": [1], "b": [%s]}}' % n
        for n in (b"NaN", b"Infinity", b"1e400", b"01", b"1.", b'"\\ud800"', b"1" * 400)
    ),
    b'{"inputs": {"a": [1], "b": [2], "\\ud800": [3]}}',
    b'{"inputs": {"a": [1], "b": [2], "c": [' + b"1" * 5000 + b"]}}",
    b'{"dataframe_records": [{"a": 1, "b": 2, "c": "\xff"}]}',
    *(b'{"%s": []}' % name for name in (b"dataframe_records", b"instances", b"inputs", b"dataframe_split")),
    *(b'{"%s": {}}' % name for name in (b"dataframe_records", b"instances", b"inputs", b"dataframe_split")),
    b'{"dataframe_records": {"a": 1, "b": 2}}',
    b'{"dataframe_records": [[1, 2]]}',
    b'{"dataframe_records": [{"a": 1, "b": 2}, null]}',
    b'{"dataframe_records": [{"a": 1}, {"a": 2}]}',
    b'{"dataframe_records": [{}]}',
    b'{"dataframe_split": {"data": [[1, 2]]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": []}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [1]]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2, 3]]}}',
    b'{"dataframe_split": {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]}}',
    b'{"dataframe_split": {"columns": ["a", "b", 3], "data": [[1, 2, 3]]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [{"a": 1, "b": 2}]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "index": []}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "index": ["x", 1]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "index": [1.5]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "index": [9223372036854775808]}}',
    b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]], "dtypes": []}}',
    b'{"instances": [{"a": 1, "b": 2}, {"a": 1}]}',
    b'{"instances": [{"a": 1, "b": 2, "c": 1}, {"a": 1, "b": 2}]}',
    b'{"instances": [{"a": 1, "b": 2, "c": []}]}',
    b'{"instances": [[1, 2]]}',
    b'{"inputs": {"a": [1, 2], "b": [1]}}',
    b'{"inputs": {"a": [], "b": []}}',
    b'{"inputs": {"a": [1], "b": 1}}',
    b'{"inputs": {"a": [1], "b": [1], "c": [[1]]}}',
    b'{"inputs": {"a": 1, "b": 1, "c": 1}}',
    b'{"inputs": [1, 2]}',
    b'{"inputs": [[1, 2]]}',
    b'{"inputs": 5}',
]


@pytest.mark.parametrize("body", READ)
def test_p4_1_bodies_that_are_taken(body: bytes) -> None:
    check_taken(*compiled(column("double", "a"), column("double", "b")), body)


@pytest.mark.parametrize("body", UNREAD)
def test_p4_1_bodies_that_are_not(body: bytes) -> None:
    assert compiled(column("double", "a"), column("double", "b"))[1].read(body) is None


def test_p4_1_the_only_column_as_a_plain_list() -> None:
    oracle, reader = compiled(column("string", "text"))
    for body in (b'{"inputs": ["a", "b"]}', b'{"instances": ["a", null]}'):
        check_taken(oracle, reader, body)
    for body in (b'{"inputs": "a"}', b'{"inputs": ["a", {}]}', b'{"inputs": ["a\\u0000"]}', b'{"inputs": [["a"]]}'):
        assert reader.read(body) is None
    check_taken(oracle, reader, b'{"dataframe_records": [{"text": "a\\u0000"}]}')


def test_p4_1_columns_that_are_called_as_formats_are() -> None:
    names = ["inputs", "columns", "data", "index", "dataframe_records", "params", "messages", "client_request_id"]
    oracle, reader = compiled(*(column("long", name) for name in names))
    for document in bodies({name: [at] for at, name in enumerate(names)}):
        check_taken(oracle, reader, json.dumps(document).encode())


@pytest.mark.parametrize("is_mixed", [True, False])
def test_p4_1_inputs_are_joined_row_after_row(*, is_mixed: bool) -> None:
    _, reader = mixed() if is_mixed else compiled(column("double", "a"), column("double", "b"))
    columns = {n: v for n, (_, v) in MIXED.items()} if is_mixed else {"a": [1, 2.5], "b": [None, 4]}
    documents = list(bodies(columns))
    first, second = (reader.read(json.dumps(document).encode()) for document in documents[3:5])
    assert first is not None
    assert second is not None
    assert first.shape_key == second.shape_key
    joined = reader.frame([first, second, first])
    assert list(joined.index) == list(range(6))
    for at, one in enumerate([first, second, first]):
        assert difference(joined[2 * at : 2 * at + 2].reset_index(drop=True).copy(), reader.frame([one])) is None
    if not is_mixed:
        matrix = reader.array([first, second])
        assert matrix is not None
        np.testing.assert_array_equal(matrix, joined[:4].to_numpy())


def test_p4_1_what_would_change_each_other_has_different_keys() -> None:
    _, reader = mixed()
    whole = {name: values for name, (_, values) in MIXED.items()}
    without = {name: values for name, values in whole.items() if name != "t"}
    documents = [
        {"dataframe_split": {"columns": list(columns), "data": list(zip(*columns.values(), strict=True)), **labels}}
        for columns in (whole, without, {**whole, "s": [None, None]})
        for labels in ({}, {"index": [4, 5]})
    ]
    keys = [found.shape_key for d in documents if (found := reader.read(json.dumps(d).encode())) is not None]
    assert len(set(keys)) == len(keys) == 6
    labelled = reader.read(json.dumps(documents[1]).encode())
    assert labelled is not None
    assert list(reader.frame([labelled, labelled]).index) == [4, 5, 4, 5]


def test_p4_1_what_a_model_does_to_its_frame_is_not_seen_by_the_next() -> None:
    oracle, reader = compiled(column("double", "a"), column("double", "b"))
    body = b'{"inputs": {"a": [1], "b": [2]}}'
    taken = reader.read(body)
    assert taken is not None
    frame = reader.frame([taken])
    frame.columns.name = "mine"
    frame["c"] = 3
    frame.loc[0, "a"] = 5
    check_taken(oracle, reader, body)
    assert difference(reader.frame([taken]), oracle.read(body)[0]) is None


def test_p4_1_many_optional_columns_are_not_all_remembered() -> None:
    names = [f"c{i}" for i in range(80)]
    oracle, reader = compiled(*(column("double", name, is_required=False) for name in names))
    for name in names:
        check_taken(oracle, reader, json.dumps({"dataframe_records": [{name: 1}]}).encode())


@pytest.mark.parametrize(
    "specs",
    [
        [column("binary", "a")],
        [column("double", "a"), ColSpec(Array(DataType.double), "b")],
        [ColSpec("double"), ColSpec("double")],
        [column("double", "a"), column("double", "a")],
        [column("double", "")],
    ],
)
def test_p4_1_signatures_that_are_left_to_mlflow(specs: list[ColSpec]) -> None:
    assert compile_input(Model(signature=ModelSignature(inputs=Schema(specs)))) is None


def test_p4_1_models_without_a_signature_or_with_type_hints_are_left_to_mlflow() -> None:
    schema = Schema([column("double", "a")])
    assert compile_input(Model()) is None
    assert compile_input(Model(signature=ModelSignature(outputs=schema))) is None
    for mark in ("_is_signature_from_type_hint", "_is_type_hint_from_example"):
        signature = ModelSignature(inputs=schema)
        assert compile_input(Model(signature=signature)) is not None
        setattr(signature, mark, True)
        assert compile_input(Model(signature=signature)) is None


def test_p4_1_with_params_in_the_signature_bodies_without_params_are_taken() -> None:
    params = ParamSchema([ParamSpec("k", "long", 5)])
    reader = compile_input(Model(signature=ModelSignature(inputs=Schema([column("double", "a")]), params=params)))
    assert reader is not None
    assert reader.read(b'{"inputs": {"a": [1]}}') is not None
    assert reader.read(b'{"inputs": {"a": [1]}, "params": {"k": 6}}') is None
