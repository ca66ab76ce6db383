"""SQL over tables of a catalog: names as users write them, reading only, clear errors."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from penstock.catalog.query import run
from penstock.domain.errors import InvalidParameterValue, NotSupported, PenstockError, TableDoesNotExist
from support.payload_tables import DAY, logged, write_payload
from unit.catalog.source import FixedSource

NAMES = ("main.default.x_payload", "main.default.my-endpoint_payload", "system.serving.endpoint_usage", "other.s.t")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FixedSource:
    folder = tmp_path_factory.mktemp("tables")
    paths = {}
    for at, name in enumerate(NAMES):
        rows = [logged({"inputs": [n]}, [n], databricks_request_id=f"{name} {n}") for n in range(at + 1)]
        paths[name] = str(write_payload(folder / f"a folder's ü {at}", *rows))
    return FixedSource(paths)


def rows(source: FixedSource, sql: str) -> list[dict[str, Any]]:
    return [row for batch in run(source, sql).batches for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("table", "count"),
    [
        ("main.default.x_payload", 1),
        ("MAIN.Default.X_PAYLOAD", 1),
        ("default.x_payload", 1),
        ("x_payload", 1),
        ("main . default  .x_payload", 1),
        ("main.default.`my-endpoint_payload`", 2),
        ('`main`.`default`."my-endpoint_payload"', 2),
        ("`my-endpoint_payload`", 2),
        ("system.serving.endpoint_usage", 3),
        ("other.s.t", 4),
    ],
)
def test_p5_4_names_of_one_to_three_parts(source: FixedSource, table: str, count: int) -> None:
    assert rows(source, f"SELECT count(*) AS n FROM {table}") == [{"n": count}]


def test_p5_4_tables_can_be_joined_and_their_columns_named_in_full(source: FixedSource) -> None:
    sql = """
        -- main.default.nope is a comment, `so` is this
        WITH day AS (SELECT request_date, 'main.default.y' AS text FROM other.s.t GROUP BY ALL)
        SELECT main.default.x_payload.status_code, x_payload.requester, day.text, count(*) AS n
        FROM main.default.x_payload JOIN day USING (request_date) GROUP BY ALL
    """
    assert rows(source, sql) == [{"status_code": 200, "requester": "admin", "text": "main.default.y", "n": 1}]


def test_p5_4_a_day_is_a_date_and_describe_tells_types(source: FixedSource) -> None:
    assert rows(source, "SELECT request_date FROM x_payload WHERE request_date = date '2026-01-02'") == [
        {"request_date": DAY}
    ]
    described = {row["column_name"]: row["column_type"] for row in rows(source, "DESCRIBE main.default.x_payload")}
    assert described["request_time"] == "TIMESTAMP WITH TIME ZONE"
    assert described["logging_error_codes"] == "VARCHAR[]"


def test_p5_4_values_of_every_type_come(source: FixedSource, tmp_path: Path) -> None:
    table = pa.table(
        {
            "d": pa.array([date(1999, 12, 31)]),
            "n": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
            "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
            "s": pa.array([{"x": [1.5, None]}]),
            "b": pa.array([b"\x00\xff"]),
        }
    )
    write_deltalake(str(tmp_path / "t"), table)
    source = FixedSource({"main.default.types": str(tmp_path / "t")})
    (row,) = rows(source, "SELECT * FROM types")
    assert row == {
        "d": date(1999, 12, 31),
        "n": Decimal("1.10"),
        "m": [("a", 1)],
        "s": {"x": [1.5, None]},
        "b": b"\x00\xff",
    }


@pytest.mark.parametrize(
    ("sql", "error", "said"),
    [
        (
            "SELECT * FROM main.default.y_payload",
            TableDoesNotExist,
            "no table.* 'y_payload'. Did you mean main.default.x_payload",
        ),
        ("SELECT * FROM nowhere.s.t", TableDoesNotExist, "no table.* catalog 'nowhere'"),
        ("SELECT * FROM nope", TableDoesNotExist, "no table.* 'nope'"),
        ("SELECT nope FROM x_payload", InvalidParameterValue, '"nope" not found'),
        ("SELEC 1", InvalidParameterValue, 'syntax error at or near "SELEC"'),
        ("SELECT 'a", InvalidParameterValue, "unterminated"),
        ("SELECT CAST('a' AS INT)", InvalidParameterValue, "Could not convert"),
        ("", InvalidParameterValue, "got 0 statements"),
        ("SELECT 1; SELECT 2", InvalidParameterValue, "got 2 statements"),
        ("DELETE FROM x_payload", NotSupported, "does not only read"),
        ("SELECT 1; DROP TABLE x_payload", NotSupported, "does not only read"),
        ("CREATE TABLE t AS SELECT 1", NotSupported, "does not only read"),
        ("COPY (SELECT 1) TO '/tmp/x'", NotSupported, "does not only read"),
        ("ATTACH '/tmp/x'", NotSupported, "does not only read"),
        ("SET threads = 1", NotSupported, "does not only read"),
        ("INSTALL httpfs", NotSupported, "does not only read"),
        ("SELECT * FROM read_text('/etc/hostname')", NotSupported, "only tables of the catalog"),
        ("SELECT * FROM '/etc/hosts.csv'", NotSupported, "only tables of the catalog"),
        ("SELECT * FROM delta_scan('/etc')", PenstockError, "."),
    ],
)
def test_p5_4_what_cannot_be_is_said(source: FixedSource, sql: str, error: type[PenstockError], said: str) -> None:
    with pytest.raises(error, match=said):
        rows(source, sql)


def test_p5_4_local_variables_are_no_tables(source: FixedSource) -> None:
    secrets = pa.table({"a": [1]})
    with pytest.raises(TableDoesNotExist):
        rows(source, "SELECT * FROM secrets")
    assert secrets.num_rows == 1


def test_p5_4_a_table_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match="while they are there"):
        rows(FixedSource({"main.default.gone": str(tmp_path / "gone")}), "SELECT * FROM gone")
