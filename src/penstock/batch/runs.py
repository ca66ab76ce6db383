"""Runs: begin one, go on with one."""

import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from penstock.batch.engine import OnProgress, go_on
from penstock.batch.model_source import Registry, fetch_identified
from penstock.batch.parquet_sink import parquet_files
from penstock.batch.pinning import pin
from penstock.batch.places import find_places, located
from penstock.batch.plan import Format, Mode, Plan, check_plan
from penstock.batch.run_folder import RunDocument, RunFolder, Summary, all_runs, create_run, fetching_folder
from penstock.domain.errors import PenstockError, ResourceConflict, ResourceDoesNotExist
from penstock.settings import Home

OnBegin = Callable[[RunFolder], None]


class RunUnfinished(ResourceConflict):
    """A run of the very same arguments is not done; to begin another might bring rows twice."""


def run(
    plan: Plan,
    home: Home,
    registry: Registry,
    cores: int,
    on_progress: OnProgress,
    on_begin: OnBegin,
    *,
    is_again: bool = False,
) -> Summary:
    """Score all rows of a source.

    Args:
        plan: what is to be done.
        home: where the run is noted, and tables are found by name.
        registry: where the model is found.
        cores: how many there are.
        on_progress: told after each chunk.
        on_begin: told of the run before anything is scored.
        is_again: whether to begin anew though a run of the same plan is not done.

    Raises:
        RunUnfinished: a run of the same plan is not done.
        PenstockError: plan, source, model or target are not as they must be; see `go_on`.
        OSError: a file cannot be written.
    """
    plan = located(check_plan(plan))
    if not is_again:
        _check_unfinished(plan, home)
    folder = _begin(plan, home, registry)
    with folder.held():
        on_begin(folder)
        try:
            return go_on(folder, cores, on_progress)
        except PenstockError:
            if not folder.journal().parts:
                shutil.rmtree(folder.path, ignore_errors=True)  # there is nothing to go on with
            raise


def resume(run_id: str, home: Home, cores: int, on_progress: OnProgress, on_begin: OnBegin) -> Summary:
    """Go on with a run after its last chunk; of one that is done, say what came of it.

    Raises:
        ResourceDoesNotExist: there is no such run.
        ResourceConflict: another process works on it, or its source or target is not as it was.
        PenstockError: see `go_on`.
        OSError: a file cannot be written.
    """
    if not run_id.isalnum():
        raise ResourceDoesNotExist(f"There is no batch run '{run_id}' in {home.batch}.")
    folder = RunFolder(home.batch / run_id)
    folder.document()
    with folder.held():
        on_begin(folder)
        return go_on(folder, cores, on_progress)


def _begin(plan: Plan, home: Home, registry: Registry) -> RunFolder:
    places = find_places(plan, home)
    source = pin(plan.source, places)
    is_replacing = plan.target.format is Format.PARQUET and plan.target.mode is Mode.OVERWRITE
    replaced = tuple(parquet_files(Path(places.target))) if is_replacing else ()
    run_id = uuid.uuid4().hex
    fetching = fetching_folder(home.batch, run_id)
    try:
        model, files = fetch_identified(plan.model, fetching, registry)
        document = RunDocument(run_id, datetime.now(UTC), plan, places, source, model, replaced)
        return create_run(home.batch, document, files)
    finally:
        shutil.rmtree(fetching.parent, ignore_errors=True)


def _check_unfinished(plan: Plan, home: Home) -> None:
    for folder in all_runs(home.batch):
        try:
            is_same = folder.summary() is None and folder.document().plan == plan
        except PenstockError:
            continue
        if is_same:
            rows = folder.journal().rows_in
            raise RunUnfinished(
                f"Batch run {folder.run_id} of the same arguments is not done; {rows} rows of it are. "
                f"'penstock batch resume {folder.run_id}' goes on with it; --again begins another."
            )
