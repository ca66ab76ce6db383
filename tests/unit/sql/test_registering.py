from collections.abc import Iterator

import duckdb
import pytest

import penstock.sql
from penstock.domain.errors import InvalidParameterValue
from penstock.sql.connection import connection_of
from unit.sql.endpoint import Doubler, serving


@pytest.fixture(scope="module")
def doubler() -> Iterator[Doubler]:
    with serving(Doubler(inputs=("x",))) as running:
        yield running


@pytest.fixture
def connection(doubler: Doubler) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        penstock.sql.register(opened, host=doubler.url, token="token", batch_rows=500)
        doubler.bodies.clear()
        yield opened


@pytest.mark.parametrize(
    ("call", "kind", "value"),
    [
        ("ai_query('d', {'x': 4})", "VARCHAR", "8"),
        ("ai_query('d', {'x': 'ha'})", "VARCHAR", "haha"),
        ("ai_query('d', 4, returnType => 'DOUBLE')", "DOUBLE", 8.0),
        ("ai_query('d', {'x': [1, 2]}, 'BIGINT[]')", "BIGINT[]", [1, 2, 1, 2]),
        ("ai_query('d', NULL)", "VARCHAR", None),
        ("ai_query(NULL, 4, returnType => 'DOUBLE')", "DOUBLE", None),
        ("ai_query('d', {'x': NULL}, returnType => 'BIGINT')", "BIGINT", None),
        (
            "ai_query('d', {'x': 13}, returnType => 'DOUBLE', failOnError => false)",
            "STRUCT(result DOUBLE, errorMessage VARCHAR)",
            {"result": None, "errorMessage": "BAD_REQUEST: 13 is unlucky"},
        ),
        (
            "ai_query('d', 4, failOnError => false)",
            "STRUCT(result VARCHAR, errorMessage VARCHAR)",
            {"result": "8", "errorMessage": None},
        ),
        ("ai_query('d', '{\"inputs\": [1, 2]}')", "VARCHAR", '{"predictions":[2,4]}'),
        ("ai_query('d', {'x': 4}, modelParameters => {'temp': 1})", "VARCHAR", "8"),
    ],
)
def test_p6_6_calls_in_the_form_that_databricks_documents(
    connection: duckdb.DuckDBPyConnection, call: str, kind: str, value: object
) -> None:
    relation = connection.sql(f"SELECT {call} AS answer")
    assert [str(t) for t in relation.types] == [kind]
    assert relation.fetchall() == [(value,)]


def test_p6_6_vectors_are_asked_in_batches(connection: duckdb.DuckDBPyConnection, doubler: Doubler) -> None:
    asked = "SELECT sum(ai_query('d', {'x': range + 20}, returnType => 'BIGINT')) FROM range(3000)"
    assert connection.sql(asked).fetchall() == [(sum(2 * (n + 20) for n in range(3000)),)]
    assert len(doubler.bodies) == 7  # 2,048 rows and 952


def test_p6_6_an_error_of_a_row_is_the_statements(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match=r"ai_query\('d'\): row 14 of 20, \{\"x\":13\}: BAD_REQUEST: 13 is unlucky"):
        connection.sql("SELECT ai_query('d', {'x': range}) FROM range(20)").fetchall()


def test_p6_6_a_connection_can_be_registered_again(connection: duckdb.DuckDBPyConnection, doubler: Doubler) -> None:
    cursor = connection.cursor()
    for opened in (connection, cursor):
        penstock.sql.register(opened, host=doubler.url, token="other")
        assert opened.sql("SELECT ai_query('d', 1, 'BIGINT')").fetchall() == [(2,)]


def test_p6_6_what_cannot_be_registered(connection: duckdb.DuckDBPyConnection) -> None:
    closed = duckdb.connect()
    closed.close()
    for session, arguments, fragment in (
        (object(), {}, "session: got object"),
        (closed, {}, "session: "),
        (connection, {"host": "ftp://x"}, "host: got 'ftp://x'"),
        (connection, {"host": " "}, "host: got none"),
        (connection, {"token": ""}, "token: got none"),
        (connection, {"batch_rows": 0}, "batch_rows: got 0"),
        (connection, {"concurrency": 65}, "concurrency: got 65"),
        (connection, {"retry_timeout_s": -1}, "retry_timeout_s: got -1"),
    ):
        with pytest.raises(InvalidParameterValue, match=f"^{fragment}"):
            penstock.sql.register(session, **{"host": "http://127.0.0.1:1", "token": "t", **arguments})


def test_p6_6_the_environment_says_whom_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "adb-1.example.net/")
    monkeypatch.setenv("DATABRICKS_TOKEN", "secret")
    connection = connection_of()
    assert (connection.url, connection.token) == ("https://adb-1.example.net", "secret")
    assert "secret" not in repr(connection)
