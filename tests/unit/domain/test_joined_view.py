"""The joined view, asked of DuckDB: predictions beside the newest that was told of each."""

from typing import Any

import duckdb
import pytest

from penstock.domain.joined_view import joined_view

COLUMNS = (
    *("feedback_id", "feedback_time", "databricks_request_id", "client_request_id", "row_position"),
    *("label", "rating", "value", "comment", "author", "reviewer", "observed_time"),
)


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE told (feedback_id VARCHAR, feedback_time TIMESTAMP, databricks_request_id VARCHAR, "
        "client_request_id VARCHAR, row_position INTEGER, label VARCHAR, rating DOUBLE, value DOUBLE, comment VARCHAR, "
        "author VARCHAR, reviewer VARCHAR, observed_time TIMESTAMP)"
    )
    connection.execute(
        "CREATE TABLE predicted AS SELECT * FROM (VALUES "
        "('r1', 'c', 0, 1.5), ('r1', 'c', 1, 2.5), ('r2', 'c', 0, 3.5), ('r3', NULL, 0, 4.5)) "
        "t(databricks_request_id, client_request_id, position, prediction)"
    )
    return connection


def tell(database: duckdb.DuckDBPyConnection, number: int, **told: Any) -> None:
    """Feedback that came as the so-manieth."""
    row = {"feedback_id": f"f{number}", "feedback_time": f"2026-01-01 00:00:{number:02d}", "author": "ann", **told}
    values = [row.get(name) for name in COLUMNS]
    database.execute(f"INSERT INTO told VALUES ({', '.join('?' * len(COLUMNS))})", values)


def shown(database: duckdb.DuckDBPyConnection, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of the view, in the order of the predictions."""
    view = joined_view("predicted", "told")
    return database.execute(f"SELECT {', '.join(columns)} FROM ({view}) ORDER BY prediction").fetchall()


def test_p5_6_predictions_without_feedback_are_shown_without(database: duckdb.DuckDBPyConnection) -> None:
    assert shown(database, "prediction", "feedback_label", "feedback_count") == [
        *((1.5, None, 0), (2.5, None, 0), (3.5, None, 0), (4.5, None, 0))
    ]


def test_p5_6_a_row_is_told_of_by_its_position_and_all_rows_without_one(database: duckdb.DuckDBPyConnection) -> None:
    tell(database, 1, databricks_request_id="r1", row_position=1, label="9", value=5.0)
    tell(database, 2, databricks_request_id="r1", rating=0.5)
    tell(database, 3, databricks_request_id="never", label="7")
    columns = ("feedback_label", "feedback_rating", "feedback_value", "feedback_count")
    assert shown(database, *columns) == [
        (None, 0.5, None, 1),
        ("9", 0.5, 5.0, 2),
        (None, None, None, 0),
        (None, None, None, 0),
    ]


def test_p5_6_a_clients_id_tells_of_every_request_that_bears_it(database: duckdb.DuckDBPyConnection) -> None:
    tell(
        database,
        1,
        client_request_id="c",
        row_position=0,
        label="1",
        reviewer="bob",
        observed_time="2025-12-31 00:00:00",
    )
    found = shown(database, "feedback_label", "feedback_label_by", "strftime(feedback_label_time, '%Y-%m-%d')")
    told = ("1", "bob", "2025-12-31")
    assert found == [told, (None, None, None), told, (None, None, None)]


def test_p5_6_what_was_told_last_counts_and_what_came_twice_is_one(database: duckdb.DuckDBPyConnection) -> None:
    tell(database, 2, databricks_request_id="r2", label="new")
    tell(database, 1, client_request_id="c", row_position=0, label="old", comment="kept")
    tell(database, 2, databricks_request_id="r2", label="new")
    rows = shown(database, "feedback_label", "feedback_comment", "feedback_count")
    assert rows[2] == ("new", "kept", 2)
    assert rows[0] == ("old", "kept", 1)
