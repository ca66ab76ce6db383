"""Rows to be labelled anew are copied once each, whoever flags them again."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from penstock.catalog.home import HomeSource
from penstock.catalog.relabel import Flags, Relabelled, relabel
from penstock.catalog.tables import Tables
from penstock.domain.errors import InvalidParameterValue, PenstockError, ResourceConflict, TableDoesNotExist
from penstock.settings import Home
from support.payload_tables import logged, write_payload


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    rows = [
        logged({"inputs": [n, n + 10]}, [n, n + 10], databricks_request_id=f"r{n}", client_request_id=f"c{n}")
        for n in range(4)
    ]
    write_payload(home.warehouse / "main/default/x_payload", *rows)
    return home


def flag(home: Home, table: str = "x_payload", **flags: Any) -> Relabelled:
    return relabel(Tables(HomeSource.read_only(home)), home.warehouse, Flags(table, **flags))


def rows(home: Home, statement: str) -> list[dict[str, Any]]:
    return [row for batch in Tables(HomeSource.read_only(home)).sql(statement).batches for row in batch.to_pylist()]


def test_p5_4_requests_are_flagged_once(home: Home) -> None:
    first = flag(home, where="databricks_request_id >= 'r2' -- only these", reason="it's odd")
    assert (str(first.name), first.flagged, first.added) == ("main.default.x_payload_relabel", 2, 2)
    assert Path(first.path) == home.warehouse / "main/default/x_payload_relabel"
    again = flag(home, where="databricks_request_id >= 'r1'", ids=["r1", "c3", "nobody"], reason="again")
    assert (again.flagged, again.added) == (2, 1)
    assert flag(home, ids=["r2"]).added == 0
    sql = "SELECT databricks_request_id AS id, relabel_reason, relabel_label FROM x_payload_relabel ORDER BY id"
    assert [tuple(row.values()) for row in rows(home, sql)] == [
        ("r1", "again", None),
        ("r2", "it's odd", None),
        ("r3", "it's odd", None),
    ]


def test_p5_4_rows_of_a_view_are_flagged_by_position(home: Home) -> None:
    first = flag(home, "x_view", where="position = 1 AND prediction IN ('11', '12')", to="reviews.team.odd_ones")
    assert (str(first.name), first.added) == ("reviews.team.odd_ones", 2)
    assert flag(home, "x_view", where="true", to="reviews.team.odd_ones").added == 6
    assert flag(home, "x_view", where="true", to="reviews.team.odd_ones").added == 0
    found = rows(home, "SELECT count(DISTINCT (databricks_request_id, position)) AS n FROM reviews.team.odd_ones")
    assert found == [{"n": 8}]


def test_p5_4_columns_that_came_later_come_along(home: Home) -> None:
    flag(home, ids=["r0"])
    folder = home.warehouse / "main/default/x_payload_relabel"
    before = rows(home, "SELECT * FROM x_payload_relabel")[0]
    write_deltalake(
        str(folder), pa.table({"by_hand": ["x"], "databricks_request_id": ["h"]}), mode="append", schema_mode="merge"
    )
    assert flag(home, ids=["r1"]).added == 1
    found = {row["databricks_request_id"]: row for row in rows(home, "SELECT * FROM x_payload_relabel")}
    assert found["r1"]["by_hand"] is None
    assert {key: found["r0"][key] for key in before} == before


@pytest.mark.parametrize(
    ("table", "flags", "error", "said"),
    [
        ("x_payload", {}, InvalidParameterValue, "got neither"),
        ("nope", {"where": "true"}, TableDoesNotExist, "main.default.nope"),
        ("x_payload", {"where": "nope > 1"}, InvalidParameterValue, "nope"),
        ("x_payload", {"where": "true); DROP TABLE x_payload; --"}, PenstockError, "sql: "),
        ("x_payload", {"where": "true", "to": "x_payload"}, InvalidParameterValue, "the table itself"),
        ("x_payload", {"where": "true", "to": "x_view"}, ResourceConflict, "is a view"),
        ("x_payload", {"where": "true", "to": "a.b.c.d"}, InvalidParameterValue, "to: "),
        ("plain", {"where": "true"}, InvalidParameterValue, "no column 'databricks_request_id'"),
    ],
)
def test_p5_4_what_cannot_be_flagged_is_said(
    home: Home, table: str, flags: dict[str, Any], error: type[PenstockError], said: str
) -> None:
    write_deltalake(str(home.warehouse / "main/default/plain"), pa.table({"a": [1]}))
    with pytest.raises(error, match=said):
        flag(home, table, **flags)
    assert rows(home, "SELECT count(*) AS n FROM x_payload") == [{"n": 4}]
    assert not (home.warehouse / "main/default/x_payload_relabel").exists()
