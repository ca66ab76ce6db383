"""`penstock bench`: how fast an endpoint answers, where the time goes, and what its model takes without a server."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from penstock.cli.bench_predict import time_alone
from penstock.cli.bench_report import Measured, document, drawn, lines
from penstock.cli.bench_spending import since, spender_of
from penstock.cli.bench_target import Asked, ServedModel, find_asked, served_model
from penstock.cli.session import (
    FAILED,
    SOME_FAILED,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    command,
    print_json,
    stderr,
    stdout,
)
from penstock.client.api import ApiError, Unreachable
from penstock.client.load.plan import LoadPlan, shares
from penstock.client.load.probe import Unanswered, ask_once
from penstock.client.load.tally import Tally
from penstock.client.load.target import request_bytes
from penstock.processes.load_generator import MAX_PROCESSES, LoadFailed, OnProgress, generate_load
from penstock.processes.predict_report import PredictReport
from penstock.runtime.spending import machine_time

MAX_CONCURRENCY = 10_000
_CORES_PER_PROCESS = 4
"""A process of the generator keeps up with a server that has three cores."""
_DEFAULT_SECONDS = 10.0
_FIRST_REFUSAL = 300


@command
def bench(
    url: Annotated[
        str,
        typer.Argument(help="http://HOST:PORT/PATH, endpoints:/NAME, or the name of an endpoint.", show_default=False),
    ],
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, max=MAX_CONCURRENCY, help="Requests in flight, always.")
    ] = 16,
    duration: Annotated[
        float | None, typer.Option("--duration", "-d", min=0.1, help="Seconds; 10 if -n is not given.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", min=1, help="Number of requests, in place of a duration.")
    ] = None,
    body: Annotated[str | None, typer.Option("--body", help="A file with the body; - is standard input.")] = None,
    row: Annotated[str | None, typer.Option("--row", help="One row as a JSON object; a list has several.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model to compare with; else the one behind the endpoint.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare/--no-compare", help="Time the model's predict in a process of its own, too.")
    ] = True,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=MAX_PROCESSES, help="Processes of the load generator.")
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", min=1, help="Count the processor time of this process and its descendants.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer.")] = 60,
    token: Annotated[str | None, typer.Option("--token", help="Bearer token; that of the stack on the home.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load an endpoint with one request again and again, and say how it answered."""
    if duration is not None and requests is not None:
        raise CommandFailed("Give -d or -n, one of the two.", USAGE)
    asked = find_asked(url, token, home)
    given = _given_body(body, row)
    served = ServedModel(model, {}) if model is not None else served_model(asked)
    predict, note = _timed_predict(served, given, home, compare=compare)
    data, source = _body(given, predict, note)
    headers = {"content-type": "application/json"}
    if asked.token:
        headers["authorization"] = f"Bearer {asked.token}"
    _probe(asked, data, headers, timeout)
    seconds = None if requests is not None else duration or _DEFAULT_SECONDS
    plan = LoadPlan(asked.target, request_bytes(asked.target, data, headers), concurrency, seconds, requests, timeout)
    count = len(shares(plan, processes or max(1, (os.cpu_count() or 1) // _CORES_PER_PROCESS)))
    spender = spender_of(asked, pid, home)
    spent, machine = spender() if spender else {}, machine_time()
    tally = _load(plan, count)
    measured = Measured(
        url=asked.url,
        model=None if served is None else served.uri,
        concurrency=concurrency,
        processes=count,
        body_bytes=len(data),
        body_source=source,
        tally=tally,
        cpu_s=since(spent, spender()) if spender else None,
        machine_busy=machine_time().busy_share_since(machine),
        predict=predict if compare else None,
        predict_note=note if compare else "--no-compare",
    )
    _show(measured, as_json)
    if tally.bad or not tally.good:
        sys.exit(SOME_FAILED if tally.good else FAILED)


def _given_body(file: str | None, row: str | None) -> bytes | None:
    if file is not None and row is not None:
        raise CommandFailed("Give --body or --row, one of the two.", USAGE)
    if row is not None:
        try:
            document: Any = json.loads(row)
        except ValueError as exc:
            raise CommandFailed(f"--row: {exc}", USAGE) from exc
        rows = document if isinstance(document, list) else [document]
        if not rows or not all(isinstance(one, dict) for one in rows):
            raise CommandFailed("--row: wanted a JSON object with a value for each column, or a list of them.", USAGE)
        return json.dumps({"dataframe_records": rows}).encode()
    if file is None:
        return None
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as exc:
        raise CommandFailed(f"--body {file}: {exc.strerror}", USAGE) from exc


def _body(given: bytes | None, predict: PredictReport | None, note: str) -> tuple[bytes, str]:
    if given is not None:
        return given, "as given"
    if predict is None:
        raise CommandFailed(f"Give a body with --body or --row: {note}.", USAGE)
    return predict.body, predict.source


def _timed_predict(
    served: ServedModel | None, body: bytes | None, home: Path | None, *, compare: bool
) -> tuple[PredictReport | None, str]:
    """The model's own time, and its example if a body is wanted; or a note that says why there is none."""
    if served is None:
        return None, "no model is known behind this address; name one with --model"
    if not compare and body is not None:
        return None, ""
    with stderr.status(f"predict of {served.uri} in a process of its own"):
        try:
            report = time_alone(served.uri, served.variables, body, home)
        except CommandFailed as exc:
            if body is None:
                raise
            return None, str(exc)
    return report, report.failure


def _probe(asked: Asked, body: bytes, headers: dict[str, str], timeout_s: float) -> None:
    """One request, so that what is wrong with all of them is said once."""
    try:
        answer = ask_once(asked.target, body, headers, timeout_s)
    except Unanswered as exc:
        raise Unreachable(str(exc)) from exc
    if answer.status < _FIRST_REFUSAL:
        return
    try:
        told = json.loads(answer.body)
        code, message = str(told["error_code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        code, message = f"HTTP {answer.status}", answer.body[:500].decode(errors="replace").strip() or asked.url
    raise ApiError(answer.status, code, message)


def _load(plan: LoadPlan, processes: int) -> Tally:
    with _progress(plan) as on_progress:
        try:
            return generate_load(plan, processes, on_progress)
        except LoadFailed as exc:
            raise CommandFailed(str(exc)) from exc


@contextmanager
def _progress(plan: LoadPlan) -> Iterator[OnProgress]:
    """A bar on standard error, and how many answers came."""
    columns = (
        TextColumn(f"{plan.connections} at once"),
        BarColumn(),
        TextColumn("{task.fields[good]:,} answers"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TextColumn("[red]{task.fields[bad]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True) as bar:
        task = bar.add_task("load", total=plan.requests or plan.seconds, good=0, rate=0.0, bad="")
        seen = {"good": 0, "at_s": 0.0}

        def on_progress(good: int, bad: int) -> None:
            elapsed_s = bar.tasks[task].elapsed or 0.0
            interval_s = elapsed_s - seen["at_s"]
            if interval_s < 0.1:  # noqa: PLR2004 - several processes tell at the same time
                return
            bar.update(
                task,
                completed=good + bad if plan.seconds is None else elapsed_s,
                good=good,
                rate=(good - seen["good"]) / interval_s,
                bad=f"{bad:,} failed" if bad else "",
            )
            seen.update(good=good, at_s=elapsed_s)

        yield on_progress


def _show(measured: Measured, as_json: bool) -> None:
    if as_json:
        print_json(document(measured))
        return
    for name, text in lines(measured):
        stdout.print(f"{name:<12}{text}", markup=False, soft_wrap=True)
    stdout.print()
    for line in drawn(measured.tally.latencies):
        stdout.print(line, markup=False, soft_wrap=True)
