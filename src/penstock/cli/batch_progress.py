"""The progress of a batch run on a terminal; elsewhere, in a log, a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from penstock.batch.engine import Progress

LINE_EVERY_S = 10.0

Shown = Callable[[Progress], None]


@contextmanager
def shown_progress(console: Console) -> Iterator[Shown]:
    """Where a run tells how far it is."""
    if not console.is_terminal:
        yield _lines(console, time.monotonic)
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("rows", total=None, rate="")
        started_s = time.monotonic()

        def show(progress: Progress) -> None:
            rate = rows_per_s(progress, time.monotonic() - started_s)
            failed = f", {progress.rows_failed:,} failed" if progress.rows_failed else ""
            bar.update(task, completed=progress.rows_in, total=progress.total, rate=f"rows, {rate:,.0f} rows/s{failed}")

        yield show


def rows_per_s(progress: Progress, elapsed_s: float) -> float:
    """How fast a run is since it began, or went on."""
    return (progress.rows_in - progress.rows_before) / elapsed_s if elapsed_s > 0 else 0.0


def line(progress: Progress, elapsed_s: float) -> str:
    """How far a run is, in words."""
    rate = rows_per_s(progress, elapsed_s)
    text = f"{progress.rows_in:,} rows"
    if progress.total is not None:
        text = f"{progress.rows_in:,} of {progress.total:,} rows"
    text += f", {rate:,.0f} rows/s"
    if progress.total is not None and rate > 0:
        text += f", {(progress.total - progress.rows_in) / rate:.0f} s left"
    return text + (f", {progress.rows_failed:,} failed" if progress.rows_failed else "")


def _lines(console: Console, clock: Callable[[], float]) -> Shown:
    started_s = told_s = clock()

    def show(progress: Progress) -> None:
        nonlocal told_s
        now_s = clock()
        if now_s - told_s >= LINE_EVERY_S:
            told_s = now_s
            console.print(line(progress, now_s - started_s), markup=False)

    return show
