"""What commands of `penstock batch` do in their own process, with MLflow and Arrow.

A model may print what it likes: while it is there, standard output is standard error, so that `--json` stays one
document.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from penstock import faults
from penstock.batch.model_source import Registry
from penstock.batch.plan import Plan, check_plan
from penstock.batch.run_folder import RunFolder, Summary, all_runs
from penstock.batch.runs import OnBegin, resume, run
from penstock.cli.batch_progress import Shown, shown_progress
from penstock.cli.session import (
    FAILED,
    NOT_FOUND,
    NOT_RUNNING,
    REFUSED,
    SOME_FAILED,
    USAGE,
    CommandFailed,
    print_json,
    running_stack,
    settings_for,
    stderr,
)
from penstock.domain.errors import (
    InvalidParameterValue,
    PenstockError,
    ResourceConflict,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
)
from penstock.domain.requirements import unmet
from penstock.processes.model_environment import installed
from penstock.runtime.machine import usable_cores
from penstock.settings import Home
from penstock.stores.model_requirements import BadRequirements, read_needs

Json = dict[str, Any]

_OF_A_TRACKING_SERVER = ("models:", "runs:", "mlflow-artifacts:")
_EXIT_CODES: tuple[tuple[type[PenstockError], int], ...] = (
    (ResourceDoesNotExist, NOT_FOUND),
    (InvalidParameterValue, USAGE),
    (ResourceConflict, REFUSED),
    (TemporarilyUnavailable, NOT_RUNNING),
    (PenstockError, FAILED),
)


def begun(plan: Plan, home: Path | None, tracking_uri: str | None, *, is_again: bool, as_json: bool) -> None:
    """Begin a run, and do all of it."""
    with _told():
        check_plan(plan)
    folder = settings_for(home).home
    registry = _registry(plan.model, tracking_uri, home)
    _work(
        folder,
        lambda shown, begin: run(plan, folder, registry, usable_cores(), shown, begin, is_again=is_again),
        as_json=as_json,
    )


def resumed(run_id: str, home: Path | None, *, as_json: bool) -> None:
    """Do what is left of a run."""
    folder = settings_for(home).home
    _work(folder, lambda shown, begin: resume(run_id, folder, usable_cores(), shown, begin), as_json=as_json)


def listed(home: Path | None) -> list[Json]:
    """The runs of a home."""
    with _told():
        return [_row(folder) for folder in all_runs(settings_for(home).home.batch)]


def _row(folder: RunFolder) -> Json:
    document, done, journal = folder.document(), folder.summary(), folder.journal()
    return {
        "run_id": document.run_id,
        "state": "unfinished" if done is None else "done",
        "created_at": document.created_at.isoformat(),
        "rows_in": journal.rows_in,
        "rows_failed": journal.rows_failed,
        "model": document.plan.model,
        "source": document.plan.source.location,
        "target": document.plan.target.location,
    }


def _work(home: Home, work: Callable[[Shown, OnBegin], Summary], *, as_json: bool) -> None:
    def begin(folder: RunFolder) -> None:
        faults.arm(os.environ.pop(faults.VARIABLE, ""), folder.path)
        stderr.print(f"Batch run {folder.run_id}", markup=False)
        _note_unmet(folder)

    with _told(), _quiet_output(), shown_progress(stderr) as shown:
        summary = work(shown, begin)
    _tell(summary, home, as_json)


def _note_unmet(folder: RunFolder) -> None:
    """Say what the model asks for and does not find here: a run goes on in this process's own environment."""
    if folder.summary() is not None:
        return
    try:
        problems = unmet(read_needs(folder.model).lines, installed)
    except BadRequirements as exc:
        problems = (str(exc),)
    for problem in problems:
        stderr.print(f"Not met here: {problem}", markup=False)


def _tell(summary: Summary, home: Home, as_json: bool) -> None:
    if as_json:
        names = ("run_id", "rows_in", "rows_out", "rows_failed", "rows_superseded", "seconds")
        print_json({name: getattr(summary, name) for name in names})
    superseded = f", {summary.rows_superseded:,} had the key of a later row" if summary.rows_superseded else ""
    rate = summary.rows_in / summary.seconds if summary.seconds else 0.0
    stderr.print(
        f"{summary.rows_in:,} rows read, {summary.rows_out:,} written, {summary.rows_failed:,} failed{superseded}; "
        f"{summary.seconds:.1f} s, {rate:,.0f} rows/s.",
        markup=False,
    )
    if summary.rows_failed:
        errors = RunFolder(home.batch / summary.run_id).document().places.errors
        raise CommandFailed(f"{summary.rows_failed:,} rows could not be scored; they are in {errors}.", SOME_FAILED)


def _registry(model: str, tracking_uri: str | None, home: Path | None) -> Registry:
    """Where a model is: as said, else in the stack that runs."""
    if tracking_uri is not None:
        return Registry(str(Path(tracking_uri).resolve()) if Path(tracking_uri).is_dir() else tracking_uri)
    if not model.startswith(_OF_A_TRACKING_SERVER):
        return Registry()
    try:
        stack = running_stack(home)
    except CommandFailed as exc:
        raise CommandFailed(f"{exc} Or say where the model is with --tracking-uri.", exc.exit_code) from exc
    return Registry(stack.local_url, stack.token)


@contextmanager
def _quiet_output() -> Iterator[None]:
    """What is printed goes to standard error."""
    sys.stdout.flush()
    before = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)


@contextmanager
def _told() -> Iterator[None]:
    """Failures of a run as those of commands."""
    try:
        yield
    except PenstockError as exc:
        code = next(code for kind, code in _EXIT_CODES if isinstance(exc, kind))
        raise CommandFailed(f"{exc.error_code}: {exc}", code) from exc
    except OSError as exc:
        raise CommandFailed(f"{exc}. What is done so far is kept; 'penstock batch list' tells of it.", FAILED) from exc
