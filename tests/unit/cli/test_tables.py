"""`penstock tables` without a running stack: from the home folder alone."""

import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner, Result

from penstock.cli.main import app
from support.payload_tables import DAY, logged, write_payload


@pytest.fixture
def home(tmp_path: Path) -> Path:
    rows = [logged({"inputs": [n]}, [n], databricks_request_id=f"r{n}") for n in range(3)]
    write_payload(tmp_path / "home/warehouse/main/default/x_payload", *rows)
    write_payload(
        tmp_path / "home/warehouse/main/default/x_payload",
        logged({"inputs": [9]}, [9], day=DAY + timedelta(days=1), status_code=400),
    )
    return tmp_path / "home"


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["tables", *arguments, "--home", str(home)])


def document(home: Path, *arguments: str) -> Any:
    result = call(home, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_p5_4_list_and_show(home: Path) -> None:
    folder = str(home / "warehouse/main/default/x_payload")
    assert document(home, "list") == [
        {"name": "main.default.x_left_out", "kind": "VIEW", "path": folder},
        {"name": "main.default.x_payload", "kind": "MANAGED", "path": folder},
        {"name": "main.default.x_view", "kind": "VIEW", "path": folder},
    ]
    shown = document(home, "show", "x_payload")
    assert {key: shown[key] for key in ("name", "path", "version", "rows")} == {
        "name": "main.default.x_payload",
        "path": folder,
        "version": 1,
        "rows": 4,
    }
    assert shown["columns"]["logging_error_codes"] == "VARCHAR[]"
    view = document(home, "show", "x_view")
    assert (view["rows"], view["version"], view["left_out"]) == (3, None, {"status: 400": 1})


def test_p5_4_sql_prints_json(home: Path) -> None:
    by_day = "SELECT request_date AS day, count(*) AS n FROM main.default.x_payload GROUP BY 1 ORDER BY 1"
    assert document(home, "sql", by_day) == [{"day": "2026-01-02", "n": 3}, {"day": "2026-01-03", "n": 1}]
    values = """
        SELECT 1.10 AS a, 2 AS a, MAP {'k': 1} AS m, {'x': [MAP {1: 'y'}]} AS s, 'nan'::FLOAT AS f, 'ab'::BLOB AS b,
        timestamp '2026-01-02 03:04:05' AS t, interval '3' day AS i, sum(1::HUGEINT) AS h, uuid() IS NULL AS u,
        NULL AS n
    """
    (row,) = document(home, "sql", values)
    assert row == {
        "a": 1.1,
        "a_2": 2,
        "m": {"k": 1},
        "s": {"x": [{"1": "y"}]},
        "f": None,
        "b": "YWI=",
        "t": "2026-01-02T03:04:05",
        "i": row["i"],
        "h": 1,
        "u": False,
        "n": None,
    }
    assert document(home, "sql", "SELECT 1 AS a WHERE false") == []
    assert len(document(home, "sql", "SELECT * FROM range(30000)")) == 30_000
    assert len(document(home, "sql", "SELECT * FROM range(30000)", "--limit", "7")) == 7


def test_p5_4_sql_prints_a_table_of_the_first_rows(home: Path) -> None:
    result = call(home, "sql", "SELECT range AS n, 'a' || chr(27) || '[31m' AS s FROM range(300)")
    lines = result.stdout.splitlines()
    assert len(lines) == 101
    assert lines[1].split() == ["0", "a\\x1b[31m"], "what a terminal would take for a command is written out"
    assert "more than 100 rows" in result.stderr
    long = call(home, "sql", "SELECT repeat('x', 5000) AS s").stdout.splitlines()[1]
    assert len(long.strip()) == 121


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nope"], 4, "TABLE_DOES_NOT_EXIST: Table 'main.default.nope'"),
        (["show", "a b"], 2, "INVALID_PARAMETER_VALUE: name: got 'a b'"),
        (["sql", "SELECT * FROM nope"], 4, "TABLE_DOES_NOT_EXIST"),
        (["sql", "SELECT nope FROM x_payload"], 2, '"nope" not found'),
        (["sql", "SELEC"], 2, "syntax error"),
        (["sql", "DROP TABLE x_payload"], 5, "does not only read"),
        (["sql", "SELECT CAST(s AS INT) FROM (SELECT 'x' || range AS s FROM range(9))"], 2, "Could not convert"),
        (["vacuum", "x_view"], 5, "is a view"),
        (["vacuum", "nope"], 4, "nope"),
        (["vacuum", "x_payload", "--retain-hours", "-1"], 2, "retain-hours"),
        (["relabel", "x_payload"], 2, "got neither"),
        (["register", "y"], 2, "--remove"),
        (["register", "y", "/tmp"], 3, "No stack runs"),
        (["flush"], 3, "No stack runs"),
    ],
)
def test_p5_4_failures_have_their_exit_code(home: Path, arguments: list[str], code: int, said: str) -> None:
    result = call(home, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr.replace("\n", " ")


def test_p5_4_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert call(tmp_path / "nowhere", "list").exit_code == 4
    assert not (tmp_path / "nowhere").exists()


def test_p5_4_a_table_that_is_broken_is_said_and_hides_no_other(home: Path) -> None:
    log = home / "warehouse/main/default/broken/_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("{no json")
    assert "main.default.broken" in [table["name"] for table in document(home, "list")]
    result = call(home, "show", "broken")
    assert result.exit_code == 5
    assert "cannot be read" in result.stderr
    assert document(home, "sql", "SELECT count(*) AS n FROM x_payload") == [{"n": 4}]


def test_p5_4_vacuum_deletes_what_no_version_needs(home: Path) -> None:
    folder = home / "warehouse/main/default/plain"
    for _ in range(2):
        write_deltalake(str(folder), pa.table({"d": [date(2026, 1, 1)], "n": [Decimal("1.5")]}), mode="overwrite")

    def delete(*options: str) -> int:
        files: int = document(home, "vacuum", "plain", *options)["files"]
        return files

    assert delete() == 0, "a week is kept"
    needed = {Path(uri).name for uri in DeltaTable(str(folder)).file_uris()}
    assert [delete("--retain-hours", "0", *options) for options in (["--dry-run"], [], [])] == [1, 1, 0]
    assert {file.name for file in folder.glob("*.parquet")} == needed
    assert document(home, "sql", "SELECT count(*) AS n FROM plain") == [{"n": 1}]


def test_p5_4_relabel(home: Path) -> None:
    first = document(home, "relabel", "x_view", "--where", "position = 0", "--reason", "look")
    assert (first["name"], first["flagged"], first["added"]) == ("main.default.x_view_relabel", 3, 3)
    assert document(home, "relabel", "x_view", "--id", "r1")["added"] == 0
