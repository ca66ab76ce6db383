"""What a query's body may be and what its answer looks like, beyond the checklist's own items in `test_query.py`."""

import base64
import io
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from support.stack import MANAGEMENT, QUERY, ROW, Stack, refused, use_registry

CSV = "text/csv"
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"


def send(
    stack: Stack, endpoint: str, body: bytes | str, content_type: str = JSON, entity: str | None = None
) -> requests.Response:
    """One prediction, byte for byte."""
    which = f"/served-models/{entity}" if entity else ""
    headers = {**stack.headers, "content-type": content_type}
    data = body.encode() if isinstance(body, str) else body
    return requests.post(f"{stack.url}{QUERY}/{endpoint}{which}/invocations", data, headers=headers, timeout=60)


def predictions(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def shapes(stack: Stack) -> Iterator[str]:
    """An endpoint with two entities.

    `answers` gives what is named, or says what kind of table came; `tensors` says what tensors came.
    """

    class Answers(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            if isinstance(model_input, pd.DataFrame):
                return {"rows": len(model_input), "columns": len(model_input.columns)}
            return {
                "bytes": pd.DataFrame({"b": [b"hello", b"x" * 60]}),
                "dates": pd.DataFrame({"t": pd.to_datetime(["2026-01-02T03:04:05", None])}),
                "dates with a zone": pd.DataFrame({"t": pd.to_datetime(["2026-01-02T03:04:05Z"])}),
                "datetime64": np.array(["2026-01-02T03:04:05", "2026-01-03"], dtype="datetime64[s]"),
                "frame": pd.DataFrame({"x": [0.1, np.nan], "n": [2**53 + 1, -(2**63)], "c": ["a", "żółć"]}),
                "numbers": np.array([np.nan, np.inf, -np.inf, 0.1]),
                "float32": np.array([0.1], dtype=np.float32),
                "matrix": np.arange(6).reshape(2, 3),
                "arrays by name": {"a": np.arange(3), "b": np.float64(0.5)},
                "text": "żółć 😀",
                "nothing": None,
                "decimal": [Decimal("1.5")],
                "set": {1, 2},
            }[str(model_input)]

    class Tensors(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            return {name: [str(t.dtype), list(t.shape), t.tolist()] for name, t in model_input.items()}

    use_registry(stack)
    mlflow.set_experiment("formats")
    signature = ModelSignature(
        inputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, 2, 2), "image"),
                TensorSpec(np.dtype(np.int64), (-1,), "id"),
                TensorSpec(np.dtype(np.uint8), (-1, 1), "level"),
                TensorSpec(np.dtype(bool), (-1,), "mask"),
            ]
        )
    )
    for model, schema in ((Answers(), None), (Tensors(), signature)):
        mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            signature=schema,
            registered_model_name="shapes",
            pip_requirements=["mlflow"],
        )
    entities = [
        {"name": name, "entity_name": "shapes", "entity_version": version, "workload_size": "Small"}
        for name, version in (("answers", "1"), ("tensors", "2"))
    ]
    routes = [{"served_entity_name": name, "traffic_percentage": 50} for name in ("answers", "tensors")]
    config = {"served_entities": entities, "traffic_config": {"routes": routes}}
    assert stack.call("POST", MANAGEMENT, {"name": "shapes", "config": config}).status_code == 200
    stack.wait_ready("shapes")
    yield "shapes"
    stack.call("DELETE", f"{MANAGEMENT}/shapes")


# CSV


def test_csv_with_quotes_commas_and_line_ends(stack: Stack, live: str) -> None:
    texts = ["plain", "comma, here", 'a "quote"', "two\nlines", "żółć 😀", " spaces "]
    frame = pd.DataFrame({"s": texts, "x": [1e-3, -2.0, 1e300, 0.1, 5.0, 6.0], "n": range(6)})
    expected = predictions(stack.ask(live, {"dataframe_records": frame.to_dict(orient="records")}))
    assert [row["s"] for row in expected] == texts
    assert predictions(send(stack, live, frame.to_csv(index=False), CSV)) == expected
    windows = frame.to_csv(index=False, lineterminator="\r\n")
    assert predictions(send(stack, live, windows, CSV)) == expected


def test_csv_cells_may_be_empty_where_a_column_can_be_missing(stack: Stack, live: str) -> None:
    assert predictions(send(stack, live, "x,n,s\n,2,a\n", CSV))[0]["x_is_nan"] is True
    refused(send(stack, live, "x,n,s\n1.5,,a\n", CSV), 400, "BAD_REQUEST", "Integer column has NA values")
    assert predictions(send(stack, live, "x,n,s\n", CSV)) == []


def test_csv_has_no_params(stack: Stack, live: str) -> None:
    row = predictions(send(stack, live, "x,n,s,temp,params\n1.5,2,a,0.9,9\n", CSV))[0]
    assert row["temp"] == 0.5
    assert row["columns"] == ["n", "s", "x"]


@pytest.mark.parametrize(
    ("body", "code", "fragment"),
    [
        (b"", "BAD_REQUEST", "No columns to parse"),
        (b"x,n,s\nmany,1,a\n", "BAD_REQUEST", "could not convert string to float: 'many'"),
        (b"x,n,s\n1,2,3,4\n1,2,3,4,5\n", "BAD_REQUEST", "valid CSV-formatted"),
        (b'x,n,s\n1,2,"open\n', "BAD_REQUEST", "valid CSV-formatted"),
        (b"x,n,s\n1,2,\xff\n", "BAD_REQUEST", "UTF-8"),
        (b"x,s\n1,a\n", "INVALID_PARAMETER_VALUE", "Model is missing inputs ['n']"),
        (b"x,n,s,t\n1,2,a,2026-01-02\n", "BAD_REQUEST", "datetime64[ns] is not supported for parsing"),
    ],
)
def test_csv_that_cannot_be_read(stack: Stack, live: str, body: bytes, code: str, fragment: str) -> None:
    refused(send(stack, live, body, CSV), 400, code, fragment)


# content types


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv; charset=utf-8",
        "Text/CSV;charset=UTF-8",
        'text/csv; charset="utf-8"',
        "text/csv; Charset=utf-8",
        "text/csv;",
    ],
)
def test_spellings_of_a_content_type(stack: Stack, live: str, content_type: str) -> None:
    assert predictions(send(stack, live, "x,n,s\n1.5,2,żółć\n", content_type))[0]["s"] == "żółć"


@pytest.mark.parametrize(
    ("content_type", "fragment"),
    [
        ("text/csv; charset=latin-1", "UTF-8"),
        ("application/json; charset=utf-16", "UTF-8"),
        ("application/json; format=pandas-split", "format"),
        ("application/xml", "application/xml"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded"),
    ],
)
def test_content_types_that_are_not_read(stack: Stack, live: str, content_type: str, fragment: str) -> None:
    refused(send(stack, live, "x,n,s\n1.5,2,a\n", content_type), 415, "BAD_REQUEST", fragment)


# Parquet


def test_parquet_carries_every_kind_of_column(stack: Stack, live: str) -> None:
    frame = pd.DataFrame(
        {
            "x": [1.5, None],
            "n": [2**53 + 1, -1],
            "s": ["żółć", "two\nlines"],
            "t": pd.to_datetime(["2026-01-02T03:04:05.123456", None]),
            "b": [b"hello", b"\x00\xff"],
        }
    )
    seen = predictions(send(stack, live, parquet(frame), PARQUET))
    columns = ["x", "n", "s", "t", "b", "temp"]
    assert [[row[name] for name in columns] for row in seen] == [
        [1.5, 2**53 + 1, "żółć", "2026-01-02T03:04:05.123456", b"hello".hex(), 0.5],
        [None, -1, "two\nlines", None, "00ff", 0.5],
    ]
    narrow = pd.DataFrame({"x": [1.5], "n": [7], "s": ["a"]}).astype({"x": "float32", "n": "int16"})
    assert predictions(send(stack, live, parquet(narrow), PARQUET))[0]["n"] == 7


@pytest.mark.parametrize(
    ("body", "code", "fragment"),
    [
        (b"", "BAD_REQUEST", "valid Parquet"),
        (b"PAR1 this is none PAR1", "BAD_REQUEST", "valid Parquet"),
        (parquet(pd.DataFrame([ROW]))[:-9], "BAD_REQUEST", "valid Parquet"),
        (parquet(pd.DataFrame([ROW])[["x", "s"]]), "INVALID_PARAMETER_VALUE", "Model is missing inputs ['n']"),
        (parquet(pd.DataFrame([{**ROW, "x": "many"}])), "INVALID_PARAMETER_VALUE", "column x"),
        (
            parquet(pd.DataFrame([{**ROW, "t": pd.Timestamp("2026-01-02T03:04:05Z")}])),
            "INVALID_PARAMETER_VALUE",
            "timezone-naive",
        ),
    ],
)
def test_parquet_that_cannot_be_read(stack: Stack, live: str, body: bytes, code: str, fragment: str) -> None:
    refused(send(stack, live, body, PARQUET), 400, code, fragment)
    assert stack.ask(live).status_code == 200


# binary columns


def test_binary_columns_are_base64_with_or_without_line_ends(stack: Stack, live: str) -> None:
    data = bytes(range(256))
    for text in (base64.b64encode(data).decode(), base64.encodebytes(data).decode(), ""):
        body = {"dataframe_records": [{**ROW, "b": text}]}
        assert predictions(stack.ask(live, body))[0]["b"] == (data.hex() if text else "")
        body = {"dataframe_split": {"columns": [*ROW, "b"], "data": [[*ROW.values(), text]]}}
        assert predictions(stack.ask(live, body))[0]["b"] == (data.hex() if text else "")
    refused(
        stack.ask(live, {"dataframe_records": [{**ROW, "b": "aGVsbG8"}]}), 400, "BAD_REQUEST", "column b", "padding"
    )
    refused(stack.ask(live, {"dataframe_records": [{**ROW, "b": 3}]}), 400, "BAD_REQUEST", "column b")


def test_binary_columns_of_inputs_are_the_text_itself(stack: Stack, live: str) -> None:
    """As in MLflow: base64 is read in the two table formats only."""
    for key in ("inputs", "instances"):
        assert predictions(stack.ask(live, {key: [{**ROW, "b": "aGVsbG8="}]}))[0]["b"] == b"aGVsbG8=".hex()


def test_bytes_of_a_model_leave_as_base64_that_can_be_sent_again(stack: Stack, live: str, shapes: str) -> None:
    short, long = (row["b"] for row in predictions(stack.ask(shapes, {"inputs": "bytes"}, "answers")))
    assert short == "aGVsbG8=\n"
    assert [len(line) for line in long.splitlines()] == [76, 4]
    sent = {"dataframe_records": [{**ROW, "b": short}, {**ROW, "b": long}]}
    assert [row["b"] for row in predictions(stack.ask(live, sent))] == [b"hello".hex(), (b"x" * 60).hex()]


# datetimes


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("2026-01-02", "2026-01-02T00:00:00"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.123456", "2026-01-02T03:04:05.123456"),
        ("2024-02-29T23:59:59.999", "2024-02-29T23:59:59.999000"),
        (None, None),
    ],
)
def test_datetimes_in(stack: Stack, live: str, text: str | None, seen: str | None) -> None:
    for body in (
        {"dataframe_records": [{**ROW, "t": text}]},
        {"dataframe_split": {"columns": [*ROW, "t"], "data": [[*ROW.values(), text]]}},
        {"inputs": [{**ROW, "t": text}]},
        {"instances": [{**ROW, "t": text}]},
    ):
        assert predictions(stack.ask(live, body))[0]["t"] == seen


@pytest.mark.parametrize(
    ("text", "code", "fragment"),
    [
        ("yesterday", "BAD_REQUEST", "yesterday"),
        ("2026-13-40", "BAD_REQUEST", "2026-13-40"),
        ("2026-01-02T03:04:05Z", "INVALID_PARAMETER_VALUE", "timezone-naive"),
        ("2026-01-02T03:04:05+02:00", "INVALID_PARAMETER_VALUE", "timezone-naive"),
    ],
)
def test_datetimes_that_are_refused(stack: Stack, live: str, text: str, code: str, fragment: str) -> None:
    refused(stack.ask(live, {"dataframe_records": [{**ROW, "t": text}]}), 400, code, fragment)


def test_datetimes_of_inputs_may_have_a_zone(stack: Stack, live: str) -> None:
    """As in MLflow: they become UTC."""
    body = {"inputs": [{**ROW, "t": "2026-01-02T03:04:05+02:00"}]}
    assert predictions(stack.ask(live, body))[0]["t"] == "2026-01-02T01:04:05"


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("dates", [{"t": "2026-01-02T03:04:05"}, {"t": "NaT"}]),
        ("dates with a zone", [{"t": "2026-01-02T03:04:05+00:00"}]),
        ("datetime64", ["2026-01-02T03:04:05", "2026-01-03T00:00:00"]),
    ],
)
def test_datetimes_out(stack: Stack, shapes: str, kind: str, seen: list[Any]) -> None:
    assert predictions(stack.ask(shapes, {"inputs": kind}, "answers")) == seen


# numbers and text


def test_a_missing_number_is_nan_and_a_missing_integer_is_refused(stack: Stack, live: str) -> None:
    for key in ("dataframe_records", "inputs", "instances"):
        assert predictions(stack.ask(live, {key: [{**ROW, "x": None}]}))[0]["x_is_nan"] is True
        answer = stack.ask(live, {key: [{**ROW, "n": None}]})
        refused(answer, 400, "BAD_REQUEST", "NoneType")
    holes = parquet(pd.DataFrame([ROW, {**ROW, "n": None}]))
    refused(send(stack, live, holes, PARQUET), 400, "INVALID_PARAMETER_VALUE", "column n")


def test_numbers_that_are_none_come_in(stack: Stack, live: str) -> None:
    for token, seen in (("Infinity", math.inf), ("-Infinity", -math.inf), ("1e999", math.inf)):
        answer = send(stack, live, f'{{"dataframe_records": [{{"x": {token}, "n": 1, "s": "a"}}]}}')
        assert predictions(answer)[0]["x"] == seen
    refused(send(stack, live, '{"dataframe_records": [{"x": 1, "n": NaN, "s": "a"}]}'), 400, "BAD_REQUEST", "column n")


def test_numbers_that_are_none_leave_as_bare_tokens(stack: Stack, shapes: str) -> None:
    answer = stack.ask(shapes, {"inputs": "numbers"}, "answers")
    assert answer.text == '{"predictions": [NaN, Infinity, -Infinity, 0.1]}'


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("key", ["dataframe_records", "inputs", "instances"])
def test_long_integers_arrive_whole(stack: Stack, live: str, key: str, number: int) -> None:
    assert predictions(stack.ask(live, {key: [{**ROW, "n": number}]}))[0]["n"] == number


def test_integers_that_are_too_long_or_no_integers(stack: Stack, live: str) -> None:
    refused(stack.ask(live, {"dataframe_records": [{**ROW, "n": 10**30}]}), 400, "BAD_REQUEST", "column n", "too large")
    assert predictions(stack.ask(live, {"dataframe_records": [{**ROW, "n": 2.5}]}))[0]["n"] == 2  # as MLflow does it


@pytest.mark.parametrize(
    "text", ["żółć", "😀 \U0001f468\u200d\U0001f680", "日本語", "\u0000", "\u2028", 'back\\slash "q"']
)
def test_text_of_any_script(stack: Stack, live: str, text: str) -> None:
    body = {"dataframe_records": [{**ROW, "s": text}]}
    assert predictions(stack.ask(live, body))[0]["s"] == text
    raw = json.dumps(body, ensure_ascii=False)
    assert predictions(send(stack, live, raw))[0]["s"] == text


def test_half_of_a_surrogate_pair_is_refused(stack: Stack, live: str) -> None:
    raw = '{"dataframe_records": [{"x": 1, "n": 1, "s": "\\ud800"}]}'
    refused(send(stack, live, raw), 400, "BAD_REQUEST", "surrogates not allowed")


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("float32", [float(np.float32(0.1))]),
        ("matrix", [[0, 1, 2], [3, 4, 5]]),
        ("arrays by name", {"a": [0, 1, 2], "b": 0.5}),
        ("text", "żółć 😀"),
        ("nothing", None),
    ],
)
def test_what_a_model_gives_becomes_json(stack: Stack, shapes: str, kind: str, seen: Any) -> None:
    assert predictions(stack.ask(shapes, {"inputs": kind}, "answers")) == seen


def test_a_table_leaves_as_records(stack: Stack, shapes: str) -> None:
    first, second = predictions(stack.ask(shapes, {"inputs": "frame"}, "answers"))
    assert first == {"x": 0.1, "n": 2**53 + 1, "c": "a"}
    assert math.isnan(second.pop("x"))
    assert second == {"n": -(2**63), "c": "żółć"}


@pytest.mark.parametrize(("kind", "type_name"), [("decimal", "Decimal"), ("set", "set")])
def test_what_cannot_become_json_is_told(stack: Stack, shapes: str, kind: str, type_name: str) -> None:
    answer = stack.ask(shapes, {"inputs": kind}, "answers")
    refused(answer, 400, "BAD_REQUEST", f"Object of type {type_name} is not JSON serializable")


# size


def test_ten_thousand_rows(stack: Stack, live: str) -> None:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 10_000), "n": range(10_000), "s": "a"})
    expected = list(range(10_000))
    body = {"dataframe_split": frame.to_dict(orient="split", index=False)}
    assert [row["n"] for row in predictions(stack.ask(live, body))] == expected
    for data, content_type in ((frame.to_csv(index=False), CSV), (parquet(frame), PARQUET)):
        assert [row["n"] for row in predictions(send(stack, live, data, content_type))] == expected


def test_three_thousand_columns(stack: Stack, live: str, shapes: str) -> None:
    columns = {f"column {index}": index for index in range(3000)}
    kept = predictions(stack.ask(live, {"dataframe_records": [{**columns, **ROW}]}))
    assert kept == predictions(stack.ask(live))
    told = predictions(stack.ask(shapes, {"dataframe_records": [columns] * 20}, "answers"))
    assert told == {"rows": 20, "columns": 3000}


# tensors

TENSORS: dict[str, Any] = {
    "image": [[[1, 2], [3, 4]], [[0.5, 0], [0, 1e-3]]],
    "id": [2**53 + 1, -1],
    "level": [[0], [255]],
    "mask": [True, False],
}


def test_named_tensors(stack: Stack, shapes: str) -> None:
    image = np.array(TENSORS["image"], dtype=np.float32).tolist()
    seen = {
        "image": ["float32", [2, 2, 2], image],
        "id": ["int64", [2], TENSORS["id"]],
        "level": ["uint8", [2, 1], TENSORS["level"]],
        "mask": ["bool", [2], TENSORS["mask"]],
    }
    assert predictions(stack.ask(shapes, {"inputs": TENSORS}, "tensors")) == seen
    by_row = [dict(zip(TENSORS, row, strict=True)) for row in zip(*TENSORS.values(), strict=True)]
    assert predictions(stack.ask(shapes, {"instances": by_row}, "tensors")) == seen
    assert predictions(stack.ask(shapes, {"inputs": {**TENSORS, "more": [1]}}, "tensors")) == seen


@pytest.mark.parametrize(
    ("change", "code", "fragment"),
    [
        ({"image": [[1, 2]]}, "INVALID_PARAMETER_VALUE", "does not match expected shape (-1, 2, 2)"),
        ({"level": [0, 1]}, "INVALID_PARAMETER_VALUE", "does not match expected shape (-1, 1)"),
        ({"level": [[256]]}, "BAD_REQUEST", "256 out of bounds for uint8"),
        ({"level": [[-1]]}, "BAD_REQUEST", "-1 out of bounds for uint8"),
        ({"id": ["seven"]}, "BAD_REQUEST", "'seven'"),
        ({"id": [None]}, "BAD_REQUEST", "NoneType"),
        ({"image": [[[1, 2], [3]]]}, "BAD_REQUEST", "inhomogeneous shape"),
    ],
)
def test_tensors_of_another_shape_or_type(
    stack: Stack, shapes: str, change: dict[str, Any], code: str, fragment: str
) -> None:
    refused(stack.ask(shapes, {"inputs": {**TENSORS, **change}}, "tensors"), 400, code, fragment)


def test_a_tensor_that_is_missing(stack: Stack, shapes: str) -> None:
    body = {"inputs": {name: values for name, values in TENSORS.items() if name != "mask"}}
    answer = stack.ask(shapes, body, "tensors")
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "Model is missing inputs ['mask']")


# keys of the platform


@pytest.mark.parametrize(
    "extra",
    [
        {"client_request_id": "my-request"},
        {"usage_context": {"team": "sales"}},
        {"databricks_options": {"return_trace": True}},
        {"client_request_id": "my-request", "usage_context": {"team": "sales"}, "whatever": [1, 2]},
    ],
)
def test_keys_beside_a_classic_format_do_not_reach_the_model(stack: Stack, live: str, extra: dict[str, Any]) -> None:
    expected = predictions(stack.ask(live))
    for body in (
        {"dataframe_records": [ROW]},
        {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}},
        {"instances": [ROW]},
        {"inputs": [ROW]},
    ):
        answer = stack.ask(live, {**extra, **body})
        assert predictions(answer) == expected
        assert list(answer.json()) == ["predictions"]


# errors


@pytest.mark.parametrize(
    ("body", "code", "fragment"),
    [
        ("{", "BAD_REQUEST", "valid JSON formatted string"),
        ("", "BAD_REQUEST", "valid JSON formatted string"),
        ("[]", "BAD_REQUEST", "Received a list"),
        ("7", "BAD_REQUEST", "unexpected input type"),
        ("{}", "BAD_REQUEST", "exactly one of the input fields"),
        ('{"inputs": [], "instances": []}', "BAD_REQUEST", "exactly one of the input fields"),
        ('{"dataframe_split": [1]}', "BAD_REQUEST", "Dataframe split format must"),
        ('{"dataframe_split": {"data": [], "rows": 0}}', "BAD_REQUEST", "Dataframe split format must"),
        ('{"dataframe_records": {"x": [1]}}', "BAD_REQUEST", "Dataframe records format must be a list"),
        ('{"dataframe_records": [{"x": "?", "n": 1, "s": ""}]}', "BAD_REQUEST", "not compatible with model signature"),
        ('{"dataframe_records": [{"n": 1, "s": ""}]}', "INVALID_PARAMETER_VALUE", "Model is missing inputs"),
        ('{"dataframe_records": []}', "INVALID_PARAMETER_VALUE", "Model is missing inputs"),
        ('{"inputs": 7}', "INVALID_PARAMETER_VALUE", "Model is missing inputs"),
        ('{"dataframe_records": [{"x": 1, "n": 1, "s": "raise"}]}', "BAD_REQUEST", "while evaluating the model"),
        ('{"dataframe_records": [{"x": 1, "n": 1, "s": "mlflow-raise"}]}', "BAD_REQUEST", "the model refuses this"),
    ],
)
def test_errors_of_the_reference_scorer(stack: Stack, live: str, body: str, code: str, fragment: str) -> None:
    refused(send(stack, live, body), 400, code, fragment)


def test_an_error_does_not_send_a_large_body_back(stack: Stack, live: str) -> None:
    """MLflow quotes the body, four characters for a byte at worst."""
    for body, fragment in (
        (b"\xff" * (4 << 20), "valid JSON formatted string"),
        (json.dumps({"inputs": "x" * (4 << 20)}).encode(), "defined in the model signature"),
    ):
        answer = send(stack, live, body)
        refused(answer, 400, "BAD_REQUEST", fragment, "characters …")
        assert len(answer.content) < 64 << 10
