"""What programs call: `penstock.batch.score`.

>>> from penstock import batch
>>> batch.score("models:/churn@champion", "main.default.customers", "main.default.churn_scores")
Summary(run_id='…', rows_in=10000000, rows_out=10000000, rows_failed=0, seconds=6.1)
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.batch.plan import DEFAULT_CHUNK_ROWS, PREDICTION, Format, Mode, OnError, Plan, Source, Target, chosen
from penstock.runtime.machine import usable_cores
from penstock.settings import Home

if TYPE_CHECKING:
    from penstock.batch.run_folder import Summary


def score(
    model: str,
    source: str,
    target: str,
    *,
    mode: str = "append",
    keys: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    inputs: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    probabilities: bool = False,
    prediction_column: str = PREDICTION,
    on_error: str = "table",
    source_format: str | None = None,
    target_format: str = "delta",
    version: int | None = None,
    timestamp: datetime | None = None,
    chunk_rows: int = DEFAULT_CHUNK_ROWS,
    processes: int | None = None,
    home: str | Path = ".penstock",
    tracking_uri: str | None = None,
    again: bool = False,
) -> "Summary":
    """Score all rows of a source with a model, and write them with their predictions to a target.

    Rows are read, scored and written in chunks, so that data of any size needs little memory. Each chunk is in the
    target once, whatever is killed: `penstock batch resume` goes on with a run.

    Args:
        model: its URI, as MLflow takes it.
        source: a file, folder or glob of Parquet, CSV or JSON lines, the folder of a Delta table, or the name of one.
        target: a folder, or the name of a table.
        mode: `append`, `overwrite`, or `merge`, which replaces rows with the same keys and adds the others.
        keys: columns that tell rows apart, for `merge`.
        columns: names of the source's columns by what the model calls them, where that is not the same.
        inputs: the columns that a model gets which has no names for its inputs; all by default.
        params: of the model's signature.
        probabilities: whether to add a column of the classes' probabilities.
        prediction_column: the name of the prediction.
        on_error: what becomes of rows that cannot be scored: `table` puts them, with the reason, into the table
            beside the target whose name ends in `_errors`; `stop` ends the run at the first.
        source_format: `delta`, `parquet`, `csv` or `json`, where the name does not tell.
        target_format: `delta` or `parquet`.
        version: of a Delta table.
        timestamp: a Delta table as it was then; with a time zone.
        chunk_rows: how many rows are scored and committed at a time.
        processes: how many score; by default as many as there are cores, as threads of this process where the model
            works without Python's lock.
        home: the home folder: where the run is noted, and where tables are found by name.
        tracking_uri: where the model is registered; what MLflow is set to by default.
        again: begin anew even if a run of the same arguments is not done.

    Returns:
        The run's id, and how many rows it read, wrote and could not score.

    Raises:
        InvalidParameterValue: an argument is not as it must be, or does not fit model, source or target.
        ResourceDoesNotExist: there is no such model, source or table.
        ResourceConflict: a run of the same arguments is not done, or the target does not take the rows.
        BadRequest: the model cannot be loaded, or a row cannot be scored and `on_error` is `stop`.
        OSError: a file cannot be written.
    """
    from penstock.batch.model_source import Registry  # noqa: PLC0415 - brings MLflow, which plans do not need
    from penstock.batch.runs import run  # noqa: PLC0415

    plan = Plan(
        model,
        Source(
            source,
            None if source_format is None else chosen(Format, "source_format", source_format),
            version,
            timestamp,
        ),
        Target(target, chosen(Format, "target_format", target_format), chosen(Mode, "mode", mode), tuple(keys)),
        columns=dict(columns or {}),
        inputs=tuple(inputs),
        params=dict(params or {}),
        prediction_column=prediction_column,
        has_probabilities=probabilities,
        on_error=chosen(OnError, "on_error", on_error),
        chunk_rows=chunk_rows,
        processes=processes,
    )
    folder = Home(Path(home).expanduser().resolve())
    return run(plan, folder, Registry(tracking_uri), usable_cores(), lambda _: None, lambda _: None, is_again=again)
