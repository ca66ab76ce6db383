"""`ai_query` of DuckDB against a running stack: batches, types, rows that fail, an endpoint that is full."""

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

import penstock.sql
from support.stack import Stack, entity

ROWS = """SELECT i, {'x': i + 0.5, 'n': i, 's': CASE WHEN i = 700 THEN 'mlflow-raise' ELSE 'row ' || i END} AS row
          FROM range(1000) t(i)"""
KIND = "STRUCT(x DOUBLE, n BIGINT, s VARCHAR)"


@pytest.fixture
def connection(databricks_environment: None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that asks whom the environment names, with all rows that are asked in these tests."""
    with duckdb.connect() as opened:
        opened.execute(f"CREATE TABLE rows AS {ROWS}")
        penstock.sql.register(opened)
        yield opened


def test_p6_6_a_thousand_rows_of_which_one_fails(live: str, connection: duckdb.DuckDBPyConnection) -> None:
    """Each row has its own answer, of the type that is wanted; that of the bad one says why there is none."""
    asked = f"ai_query('{live}', row, returnType => '{KIND}', failOnError => false)"
    found = connection.sql(f"SELECT i, {asked} AS answer FROM rows ORDER BY i").fetchall()
    bad = found.pop(700)
    assert bad[1]["result"] is None
    assert "the model refuses this" in bad[1]["errorMessage"]
    assert found == [
        (i, {"result": {"x": i + 0.5, "n": i, "s": f"row {i}"}, "errorMessage": None}) for i in range(1000) if i != 700
    ]
    with pytest.raises(duckdb.Error, match=rf"ai_query\('{live}'\): row 701 of 1000, .*raise.*: BAD_REQUEST: "):
        connection.sql(f"SELECT ai_query('{live}', row) FROM rows ORDER BY i").fetchall()


def test_p6_6_bodies_as_they_are_and_params_and_null(live: str, connection: duckdb.DuckDBPyConnection) -> None:
    body = """{"dataframe_records": [{"x": 1, "n": 2, "s": "a"}, {"x": 2, "n": 2, "s": "b"}]}"""
    (answers, temp, nothing) = (
        connection.sql(
            f"""SELECT ai_query('{live}', '{body}', returnType => 'STRUCT(predictions STRUCT(s VARCHAR)[])'),
                   ai_query('{live}', row, returnType => 'STRUCT(temp DOUBLE)', modelParameters => {{'temp': 2.5}}),
                   ai_query('{live}', NULL) FROM rows LIMIT 1"""
        ).fetchone()
        or ()
    )
    assert [row["s"] for row in answers["predictions"]] == ["a", "b"]
    assert temp == {"temp": 2.5}
    assert nothing is None


def test_p6_6_an_endpoint_that_is_full_is_asked_again_when_it_says(
    stack: Stack, create: Callable[..., dict[str, Any]]
) -> None:
    create("ai-crowded", entity(environment_vars={"PENSTOCK_QUEUE_SIZE": "0"}))
    with duckdb.connect() as connection:
        penstock.sql.register(connection, host=stack.url, token=stack.token, batch_rows=1, concurrency=8)
        asked = "ai_query('ai-crowded', {'x': 1.0, 'n': range, 's': 'sleep:0.1'}, 'STRUCT(n BIGINT)').n"
        assert connection.sql(f"SELECT {asked} FROM range(16)").fetchall() == [(n,) for n in range(16)]


def test_p6_6_who_may_not_ask_or_asks_nobody_is_told(
    stack: Stack, live: str, connection: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.Error, match=r"ai_query\('no-such'\): RESOURCE_DOES_NOT_EXIST"):
        connection.sql("SELECT ai_query('no-such', row, failOnError => false) FROM rows").fetchall()
    penstock.sql.register(connection, host=stack.url, token="wrong")
    with pytest.raises(duckdb.Error, match=rf"ai_query\('{live}'\): UNAUTHENTICATED"):
        connection.sql(f"SELECT ai_query('{live}', row) FROM rows").fetchall()
