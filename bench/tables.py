"""SQL over a large payload table: what `penstock tables sql` takes to count its rows by day, and other questions.

    python bench/tables.py [--rows N] [--days D] [--rounds R] [--table DIR] [--json FILE]

A table in the layout of inference tables is made first, a file or more for each day, as the table writer's compaction
leaves them; with `--table` in that home folder, where the next run finds it. Then each question is asked R times by the
command, as a user does: times are of the whole process, from its start to its end. `inside` is the time of the query
alone, in a process that has DuckDB loaded. Medians; times in milliseconds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
from deltalake import WriterProperties, write_deltalake
from reporting import give_out, machine

from penstock.catalog.local import open_home

NAME = "main.default.bench_payload"
QUESTIONS = {
    "count_by_day": f"SELECT request_date, count(*) AS n FROM {NAME} GROUP BY request_date ORDER BY request_date",
    "failed_by_entity": f"SELECT served_entity_id, status_code, count(*) AS n FROM {NAME} GROUP BY ALL ORDER BY ALL",
    "slowest_of_a_day": f"SELECT request_time, execution_duration_ms AS ms FROM {NAME} "
    "WHERE request_date = DATE '2026-01-03' ORDER BY ms DESC LIMIT 10",
    "one_request": f"SELECT status_code FROM {NAME} "
    "WHERE databricks_request_id = '00000000-0000-4000-8000-000000000042'",
}
FIRST_DAY = date(2026, 1, 1)
ROWS_OF_A_DAY = """
    SELECT
        format('{:08x}-0000-4000-8000-{:012d}', $day, range) AS databricks_request_id,
        $date::DATE AS request_date,
        NULL::VARCHAR AS client_request_id,
        $date::TIMESTAMP AT TIME ZONE 'UTC' + to_microseconds(range * 86400000000 // $rows) AS request_time,
        (CASE WHEN range % 50 = 0 THEN 400 ELSE 200 END)::INTEGER AS status_code,
        1.0::DOUBLE AS sampling_fraction,
        (random() * 40)::BIGINT AS execution_duration_ms,
        '{"dataframe_records": [{"x": ' || random() || ', "n": ' || range || ', "s": "a text"}]}' AS request,
        '{"predictions": [' || random() || ']}' AS response,
        []::VARCHAR[] AS logging_error_codes,
        md5((range % 3)::VARCHAR) AS served_entity_id,
        'somebody@example.com' AS requester
    FROM range($rows)
"""


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--days", type=int, default=25)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--table", type=Path, help="a home folder to make the table in, or to find it in")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    before = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="penstock-tables-") as folder:
        home = (chosen.table or Path(folder) / "home").absolute()
        table = home.joinpath("warehouse", *NAME.split("."))
        if not table.exists():
            make(table, chosen.rows, chosen.days)
        report: dict[str, Any] = {"bench": "tables", "rounds": chosen.rounds, **described(table, home)}
        report["questions"] = {name: asked(home, sql, chosen.rounds) for name, sql in QUESTIONS.items()}
    report["machine"] = machine(before)
    give_out(report, chosen.json)


def make(table: Path, rows: int, days: int) -> None:
    """The table: rows in equal parts on days one after the other, a commit for each."""
    for day in range(days):
        data = duckdb.execute(
            ROWS_OF_A_DAY, {"day": day, "date": (FIRST_DAY + timedelta(day)).isoformat(), "rows": rows // days}
        )
        write_deltalake(
            str(table),
            data.to_arrow_reader(20_000),
            mode="append",
            partition_by=["request_date"],
            writer_properties=WriterProperties(compression="ZSTD", max_row_group_size=20_000),
        )


def described(table: Path, home: Path) -> dict[str, Any]:
    """Size of the table."""
    files = list(table.rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    return {"rows": open_home(home).show(NAME).rows, "files": len(files), "megabytes": round(size / 1e6, 1)}


def asked(home: Path, sql: str, rounds: int) -> dict[str, float]:
    """Median times of one question."""
    tables = open_home(home)
    command = [sys.executable, "-m", "penstock", "tables", "sql", sql, "--json", "--home", str(home)]
    whole, inside = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole.append(time.perf_counter() - began)
        began = time.perf_counter()
        list(tables.sql(sql).batches)
        inside.append(time.perf_counter() - began)
    found = {"command": whole, "inside": inside}
    return {name: round(statistics.median(times) * 1000, 1) for name, times in found.items()}


if __name__ == "__main__":
    main()
