"""`penstock batch`: run, resume, list. No stack need run where a tracking server is named."""

import gc
from types import ModuleType
from typing import Annotated

import typer

from penstock.batch.plan import DEFAULT_CHUNK_ROWS, PREDICTION, Engine, Format, Mode, OnError, Plan, Source, Target
from penstock.cli.batch_arguments import instant, pairs, values
from penstock.cli.session import HomeOption, JsonOption, command, print_json, print_table

app = typer.Typer(no_args_is_help=True, help="Score all rows of a table or of files with a model.")

_GC_THRESHOLD = 200_000
"""Imports are most of a short run, and a tenth of that is looking for cycles, of which they leave none."""


def _work() -> ModuleType:
    """What the commands do in this process. It brings MLflow and Arrow: seconds that no other command pays."""
    gc.set_threshold(_GC_THRESHOLD)
    from penstock.cli import batch_work  # noqa: PLC0415 - see above

    return batch_work


@app.command()
@command
def run(
    model: Annotated[str, typer.Option("--model", help="URI of the model, as MLflow takes it.", show_default=False)],
    source: Annotated[str, typer.Option("--source", help="Path, glob or catalog.schema.table.", show_default=False)],
    target: Annotated[str, typer.Option("--target", help="Folder or catalog.schema.table.", show_default=False)],
    engine: Annotated[Engine, typer.Option("--engine", help="What runs it.")] = Engine.LOCAL,
    mode: Annotated[Mode, typer.Option("--mode", help="What becomes of rows that the target has.")] = Mode.APPEND,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key", help="A column by which rows are merged; may be given several times.", show_default=False
        ),
    ] = None,
    source_format: Annotated[
        Format | None, typer.Option("--source-format", help="Where the name does not tell.", show_default=False)
    ] = None,
    target_format: Annotated[Format, typer.Option("--target-format", help="delta or parquet.")] = Format.DELTA,
    version: Annotated[
        int | None, typer.Option("--version", help="Of a Delta table; the newest by default.", show_default=False)
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option("--timestamp", help="A Delta table as it was then: 2026-01-31T12:00:00Z.", show_default=False),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="INPUT=COLUMN", help="Which column an input of the model is.", show_default=False
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="A column for a model that has no names for its inputs; all by default.", show_default=False
        ),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=JSON", help="A parameter of its signature.", show_default=False),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add a column of the classes' probabilities.")
    ] = False,
    prediction_column: Annotated[str, typer.Option("--prediction-column", help="Name of the prediction.")] = PREDICTION,
    on_error: Annotated[
        OnError, typer.Option("--on-error", help="Rows that cannot be scored: to a table beside the target, or stop.")
    ] = OnError.TABLE,
    chunk_rows: Annotated[
        int, typer.Option("--chunk-rows", help="Rows that are scored and committed at a time.")
    ] = DEFAULT_CHUNK_ROWS,
    processes: Annotated[
        int | None, typer.Option("--processes", help="How many score; as many as cores by default.", show_default=False)
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew though a run of the same arguments is not done.")
    ] = False,
    tracking_uri: Annotated[
        str | None,
        typer.Option("--tracking-uri", help="Where the model is; the running stack by default.", show_default=False),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score all rows of a source; exit code 7 tells that some could not be."""
    plan = Plan(
        model,
        Source(source, source_format, version, instant("--timestamp", timestamp)),
        Target(target, target_format, mode, tuple(keys or ())),
        engine,
        columns=pairs("--column", columns),
        inputs=tuple(inputs or ()),
        params=values("--param", params),
        prediction_column=prediction_column,
        has_probabilities=probabilities,
        on_error=on_error,
        chunk_rows=chunk_rows,
        processes=processes,
    )
    _work().begun(plan, home, tracking_uri, is_again=again, as_json=as_json)


@app.command()
@command
def resume(
    run_id: Annotated[str, typer.Argument(help="The run's id.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run after the last chunk that is done."""
    _work().resumed(run_id, home, as_json=as_json)


@app.command("list")
@command
def list_runs(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the runs of a home, the newest last."""
    runs = _work().listed(home)
    if as_json:
        print_json(runs)
        return
    names = ("run_id", "state", "created_at", "rows_in", "rows_failed", "source", "target")
    print_table([name.upper().replace("_", " ") for name in names], [[run[name] for name in names] for run in runs])
