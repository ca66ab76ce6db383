"""From calls to a DataFrame: what was asked and answered is logged, found, queried and typed; without the stack too."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_delta
import pandas
import pytest
from deltalake import DeltaTable

from penstock.catalog.local import open_home
from support.linear_model import register_adder
from support.stack import MANAGEMENT, Stack, penstock, registry_of, start_stack, wait_for

ENDPOINT = "my-adder"
VIEW = f"main.default.`{ENDPOINT}_view`"
FORMATS = [
    {"dataframe_records": [{"x": 1}, {"x": 2.5, "ignored": True}]},
    {"dataframe_split": {"columns": ["x"], "index": [7], "data": [[3]]}},
    {"instances": [{"x": 4.0}]},
    {"inputs": {"x": [5, 6]}},
]
FAILING: list[dict[str, Any]] = [{"dataframe_records": [{"y": 1}]}, {"nothing": 1}]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An endpoint that was asked in all formats, by version 1 and then by version 2 of its model."""
    running = start_stack(Path(tmp_path_factory.mktemp("tables")) / "home")
    try:
        with registry_of(running):
            register_adder("adder", 0.5)
            register_adder("adder", 100)
        table = {"enabled": True, "catalog_name": "main", "schema_name": "default"}
        body = {
            "name": ENDPOINT,
            "config": {"served_entities": [served("1")]},
            "ai_gateway": {"inference_table_config": table},
        }
        assert running.call("POST", MANAGEMENT, body).status_code == 200
        running.wait_ready(ENDPOINT)
        ask(running)
        update = {"served_entities": [served("2")]}
        assert running.call("PUT", f"{MANAGEMENT}/{ENDPOINT}/config", update).status_code == 200
        wait_for(lambda: running.get(ENDPOINT)["config"]["config_version"] == 2, "version 2 to serve")
        ask(running)
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def served(version: str) -> dict[str, Any]:
    return {"entity_name": "adder", "entity_version": version}


def ask(stack: Stack) -> None:
    assert [stack.ask(ENDPOINT, body).status_code for body in FORMATS] == [200] * 4
    assert [stack.ask(ENDPOINT, body).status_code for body in FAILING] == [400] * 2


def tables(stack: Stack, *arguments: str) -> Any:
    done = penstock("tables", *arguments, "--json", home=stack.home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_p5_4_what_was_asked_is_a_table(stack: Stack) -> None:
    assert tables(stack, "flush") == {"flushed": True, "parked": []}
    name = f"main.default.{ENDPOINT}_payload"
    shown = tables(stack, "show", name)
    folder = stack.home / f"warehouse/main/default/{ENDPOINT}_payload"
    assert (shown["name"], shown["path"], shown["rows"]) == (name, str(folder), 12)
    by_status = f"SELECT status_code AS s, count(*) AS n FROM main.default.`{ENDPOINT}_payload` GROUP BY s ORDER BY s"
    assert tables(stack, "sql", by_status) == [{"s": 200, "n": 8}, {"s": 400, "n": 4}]


def test_p5_4_the_view_is_what_the_model_saw_and_said(stack: Stack) -> None:
    """Rows of a version that serves no more are read by that version's signature, which the history knows."""
    tables(stack, "flush")
    sql = f"SELECT x, round(prediction - x, 6) AS offset, count(*) AS n FROM {VIEW} GROUP BY ALL ORDER BY ALL"
    both = [(x, offset) for x in (1.0, 2.5, 3.0, 4.0, 5.0, 6.0) for offset in (0.5, 100.0)]
    assert [(row["x"], row["offset"], row["n"]) for row in tables(stack, "sql", sql)] == [(*row, 1) for row in both]
    rows = open_home(stack.home).rows(VIEW)
    assert rows.left_out == {"status: 400": 4}
    frame = rows.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame[["x", "prediction"]].dtypes.astype(str).tolist() == ["float64", "float64"]
    assert sorted(frame.groupby("databricks_request_id")["position"].max()) == [0, 0, 0, 0, 1, 1, 1, 1]
    flagged = tables(stack, "relabel", f"main.default.{ENDPOINT}_view", "--where", "x > 4.5", "--reason", "large")
    assert (flagged["flagged"], flagged["added"]) == (4, 4)


def test_p5_4_other_engines_open_the_folder(stack: Stack) -> None:
    tables(stack, "flush")
    path = tables(stack, "show", f"{ENDPOINT}_payload")["path"]
    assert len(DeltaTable(path).to_pandas()) == 12
    extension = next(Path(duckdb_extension_delta.__file__).parent.rglob("*.duckdb_extension"))
    with duckdb.connect() as connection:
        connection.execute(f"LOAD '{extension}'")
        assert connection.execute(f"SELECT count(*) FROM delta_scan('{path}')").fetchall() == [(12,)]


def test_p5_4_tables_are_read_while_they_are_written(stack: Stack) -> None:
    """A reader sees whole commits: never a row less than before, never part of a request."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            stack.ask(ENDPOINT, FORMATS[0])
            tables(stack, "flush")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        home, seen = open_home(stack.home), 0
        for _ in range(8):
            (count, odd) = home.numbers(
                f"SELECT count(*) AS n, count(*) FILTER (n <> 2) AS odd FROM (SELECT count(*) AS n "
                f"FROM {VIEW} WHERE request_date >= current_date - 1 AND x IN (1.0, 2.5) GROUP BY databricks_request_id)"
            )
            assert count >= seen
            assert odd == 0
            seen = count
        assert seen > 2
    finally:
        stop.set()
        writer.join()


def test_p5_4_without_the_stack_the_folder_is_enough(stack: Stack) -> None:
    """The last of these tests. The same answers, also for views and registered tables; only writing needs the stack."""
    elsewhere = stack.home.parent / "elsewhere"
    DeltaTable.create(str(elsewhere), schema=DeltaTable(tables(stack, "show", f"{ENDPOINT}_payload")["path"]).schema())
    tables(stack, "register", "lab.raw.empty", str(elsewhere))
    asked = [["list"], ["show", "lab.raw.empty"], ["sql", f"SELECT count(*) AS n, sum(x) AS x FROM {VIEW}"]]
    running = [tables(stack, *arguments) for arguments in asked]
    before = (stack.home / "penstock.db").stat().st_mtime_ns
    stack.stop()
    stopped_at = (stack.home / "penstock.db").stat().st_mtime_ns
    assert [tables(stack, *arguments) for arguments in asked] == running
    assert (stack.home / "penstock.db").stat().st_mtime_ns == stopped_at >= before, "nothing was written"
    refused = penstock("tables", "register", "a", str(elsewhere), home=stack.home)
    assert (refused.returncode, "No stack runs" in refused.stderr) == (3, True)
    with sqlite3.connect(stack.home / "penstock.db") as connection:
        connection.execute("DROP TABLE registered_tables")
    connection.close()
    assert "lab.raw.empty" not in [table["name"] for table in tables(stack, "list")], "as an older release left it"
