"""What inference tables cost for each request: in the gateway that logs, and in the table writer; and its memory.

    python bench/inference_tables.py [--rounds N] [--seconds S] [--rows N] [--json FILE]

Gateway: 64 connections ask without a pause, with logging and without, in rounds that alternate; the difference of the
medians of its processor time is what logging costs. Table writer: the records of a spool, of requests and answers as
large as those, are written into its table step by step, `--rows` of them in all; processor time is counted from when
the process is ready until everything is in the table, and resident memory is looked at after each step.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "data_plane"))

import msgspec
import psutil
import stage
from reporting import give_out, machine

from penstock.client.table_writer import flush
from penstock.processes.launch import TableWriterLaunch
from penstock.settings import Home
from penstock.spool.record import Context, Kind, encode_record
from penstock.spool.writer import SpoolWriter
from penstock.wire.sockets import TABLE_WRITER, SocketFolder

CONNECTIONS = 64
WARM_UP_S = 0.5
TURN_RECORDS = 16
"""So many records a turn of a busy gateway writes at once."""
STEP_ROWS = 50_000
"""Between two flushes: about five seconds of a busy machine."""
REQUEST = b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[[5.1,3.5,1.4,0.2]]}}'
ANSWER = b'{"predictions":[0.1234567890123456]}'
NOTES = b'{"execution_us":212}'
FLUSH_TIMEOUT_S = 600.0


def main() -> None:
    """Run the bench."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rows", type=int, default=2_000_000)
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    before = os.getloadavg()
    report = {
        "bench": "inference-tables",
        "gateway": gateway(chosen.rounds, chosen.seconds) if chosen.rounds else None,
        "table_writer": table_writer(chosen.rows) if chosen.rows else None,
        "machine": machine(before),
    }
    give_out(report, chosen.json)


def gateway(rounds: int, seconds: float) -> dict[str, Any]:
    """Processor time of a request with logging and without, and what lies between."""
    seen: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds):
        for is_logged in (turn % 2 == 0, turn % 2 != 0):  # neither is always the first
            table = stage.logging_table() if is_logged else stage.routing_table()
            with stage.gateway(table) as server:
                stage.client(server, CONNECTIONS, WARM_UP_S)
                began_ns = server.cpu_ns()
                count = stage.client(server, CONNECTIONS, seconds)["requests"]
                seen[is_logged].append((server.cpu_ns() - began_ns) / count / 1000)
                written = sum(path.stat().st_size for path in server.home.glob("spool/*/*.spool"))
                assert (written > count * len(REQUEST)) == is_logged, "what is measured is what was meant"
            print(f"round {turn + 1}, logged: {is_logged}: {seen[is_logged][-1]:.2f} us", file=sys.stderr)
    logged, unlogged = median(seen[True]), median(seen[False])
    differences = [one - other for one, other in zip(seen[True], seen[False], strict=True)]
    return {
        "rounds": rounds,
        "seconds": seconds,
        "connections": CONNECTIONS,
        "cpu_us_logged": round(logged, 2),
        "cpu_us_unlogged": round(unlogged, 2),
        "logging_cpu_us": round(logged - unlogged, 2),
        "logging_cpu_us_by_bests": round(min(seen[True]) - min(seen[False]), 2),
        "logging_cpu_us_by_rounds": round(median(differences), 2),
    }


def table_writer(rows: int) -> dict[str, Any]:
    """Processor time of a row in the table writer, and its memory, while a table grows to so many rows."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, writing(Home(Path(folder))) as process:
        home = Home(Path(folder))
        began_bytes, began_s = process.memory_info().rss, cpu_s(process)
        steps = []
        for done in range(0, rows, STEP_ROWS):
            spool(home, min(STEP_ROWS, rows - done))
            asyncio.run(flush(SocketFolder(home.run), FLUSH_TIMEOUT_S))
            now_s, rss_bytes = cpu_s(process), process.memory_info().rss
            steps.append({"rows": min(done + STEP_ROWS, rows), "cpu_s": now_s, "rss_bytes": rss_bytes})
            print(steps[-1], file=sys.stderr)
        used_s = cpu_s(process) - began_s
        return {
            "rows": rows,
            "cpu_us_per_row": round(used_s / rows * 1e6, 2),
            "cpu_us_per_row_at_last": round(_slope_us(steps), 2),
            "rss_bytes_at_first": began_bytes,
            "rss_bytes_at_most": max(step["rss_bytes"] for step in steps),
            "rss_bytes_at_last": steps[-1]["rss_bytes"],
            "peak_rss_bytes": peak_rss_bytes(process.pid),
        }


def _slope_us(steps: list[dict[str, Any]]) -> float:
    """Processor time of a row without what the first step costs once."""
    first, last = steps[0], steps[-1]
    return float((last["cpu_s"] - first["cpu_s"]) / max(last["rows"] - first["rows"], 1) * 1e6)


def cpu_s(process: psutil.Process) -> float:
    """Processor time of all threads, also of those that have ended."""
    times = process.cpu_times()
    return times.user + times.system


def peak_rss_bytes(pid: int) -> int:
    """The most resident memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def writing(home: Home) -> Iterator[psutil.Process]:
    """A table writer that is ready."""
    home.run.mkdir()
    listener = SocketFolder(home.run).listen(TABLE_WRITER)
    reading, status = os.pipe()
    document = TableWriterLaunch(
        parent_pid=os.getpid(),
        status_fd=status,
        home=str(home.path),
        listen_fd=listener.fileno(),
        workspace_id="1",
        flush_s=5,
        keeps_days=0,
        parked_max_bytes=1 << 30,
        max_body_bytes=1 << 20,
    )
    command = [sys.executable, "-m", "penstock.processes.table_writer"]
    instructions = msgspec.json.encode(document)
    # As the supervisor starts it.
    with stage.started(command, (listener.fileno(), status), instructions, MALLOC_ARENA_MAX="2") as process:
        os.close(status)
        os.read(reading, 1 << 16)
        os.close(reading)
        yield psutil.Process(process.pid)
    listener.close()


def spool(home: Home, rows: int) -> None:
    """So many records, as a gateway writes them."""
    context = msgspec.json.encode(
        Context(
            "e" * 32,
            stage.ENDPOINT,
            1,
            "a" * 32,
            "a",
            "bench",
            "",
            "application/json",
            1.0,
            payload_table=stage.TABLE,
        )
    )
    writer = SpoolWriter(home.spool / "gateway-0", 8 << 30, lambda _: None)
    for number in range(rows):
        now_us = int(time.time() * 1e6)
        request_id = str(uuid.uuid4()).encode()
        context_number = writer.number_of(context)
        writer.add(
            lambda: None,
            encode_record(Kind.WHOLE, context_number, request_id, now_us, 900, 200, 0, NOTES, REQUEST, ANSWER),
        )
        if number % TURN_RECORDS == 0:
            writer.flush()
    writer.close()


if __name__ == "__main__":
    main()
