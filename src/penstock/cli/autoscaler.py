"""`penstock autoscaler replay`: what the scaling policy would have done with a recorded load."""

import csv
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.session import USAGE, CommandFailed, JsonOption, command, print_json, print_table, stderr
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.limits import Limits, Windows
from penstock.domain.scaling import ReplicaBounds, replay, sizing_bounds
from penstock.domain.sizing import choose_sizing

app = typer.Typer(no_args_is_help=True, help="The autoscaler.")

MAX_SECONDS = 31 * 24 * 3600
_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 100


@app.callback()
def _group() -> None:
    """The autoscaler."""


@app.command("replay")
@command
def replay_trace(
    trace: Annotated[Path, typer.Argument(help="CSV with the columns second and calls; - is stdin.")],
    size: Annotated[str | None, typer.Option("--size", help="Workload size: Small, Medium or Large.")] = None,
    low: Annotated[int | None, typer.Option("--min", help="Least provisioned concurrency.")] = None,
    high: Annotated[int | None, typer.Option("--max", help="Most provisioned concurrency.")] = None,
    scale_to_zero: Annotated[bool, typer.Option("--scale-to-zero", help="It may sleep.")] = False,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="Cores; those of this machine.")] = None,
    stable: Annotated[int, typer.Option("--stable", min=2, help="Stable window, seconds.")] = 60,
    panic: Annotated[int, typer.Option("--panic", min=1, help="Panic window, seconds.")] = 6,
    zero_after: Annotated[float, typer.Option("--zero-after", min=1, help="Idle seconds before it sleeps.")] = 1800,
    as_json: JsonOption = False,
) -> None:
    """Draw how many replicas the policy would have had for a recorded load."""
    if panic > stable:
        raise CommandFailed(f"--panic: got {panic}; wanted at most the stable window, {stable}.", USAGE)
    try:
        sizing = choose_sizing("the entity", size, None, scale_to_zero, low, high)
    except InvalidParameterValue as exc:
        raise CommandFailed(str(exc), USAGE) from exc
    load = _read(trace)
    bounds = sizing_bounds(sizing, Limits(cores=cores or os.cpu_count() or 1))
    series = replay(load, bounds, Windows(stable, panic, zero_after))
    changes = [(second, before, after) for second, before, after in _steps(series, bounds) if before != after]
    if as_json:
        print_json(
            {
                "bounds": {"low": bounds.low, "high": bounds.high},
                "replicas": series,
                "changes": [{"second": second, "from": before, "to": after} for second, before, after in changes],
                "replica_seconds": sum(series),
            }
        )
        return
    print(f"calls     {_drawn(load)}  up to {max(load, default=0):g}")
    print(f"replicas  {_drawn(series)}  {bounds.low} to {bounds.high}")
    stderr.print(f"{len(load)} s, {len(changes)} changes, {sum(series)} replica seconds")
    print_table(("SECOND", "FROM", "TO"), [(str(second), str(a), str(b)) for second, a, b in changes])


def _steps(series: Sequence[int], bounds: ReplicaBounds) -> Iterable[tuple[int, int, int]]:
    return zip(range(len(series)), [bounds.start, *series], series, strict=False)


def _drawn(values: Sequence[float]) -> str:
    """One line of bars: each the highest value of its stretch of time, in eighths of the highest of all."""
    top = max(values, default=0)
    width = min(_WIDTH, len(values))
    stretches = (values[len(values) * at // width : len(values) * (at + 1) // width] for at in range(width))
    return "".join(_BARS[math.ceil(8 * max(stretch) / top)] if top else _BARS[0] for stretch in stretches)


def _read(file: Path) -> list[float]:
    """The calls of each second; seconds that are not told had none."""
    try:
        lines = (sys.stdin.read() if str(file) == "-" else file.read_text()).splitlines()
    except OSError as exc:
        raise CommandFailed(f"{file}: cannot be read: {exc.strerror or exc}.", USAGE) from exc
    except UnicodeDecodeError as exc:
        raise CommandFailed(f"{file}: is no UTF-8 text: {exc}.", USAGE) from exc
    reader = csv.DictReader(lines)
    if not {"second", "calls"} <= set(reader.fieldnames or ()):
        raise CommandFailed(f"{file}: wanted a first line with the columns second and calls.", USAGE)
    told: dict[int, float] = {}
    for row in reader:
        at = f"{file}, line {reader.line_num}"
        try:
            second, calls = int(row["second"]), float(row["calls"])
        except (TypeError, ValueError):
            wanted = "wanted a whole number of seconds and a number of calls"
            raise CommandFailed(f"{at}: got {row['second']!r}, {row['calls']!r}; {wanted}.", USAGE) from None
        if not 0 <= second < MAX_SECONDS or not 0 <= calls < math.inf:
            raise CommandFailed(f"{at}: wanted a second from 0 to {MAX_SECONDS - 1}, and calls from 0 on.", USAGE)
        if second in told:
            raise CommandFailed(f"{at}: second {second} came twice.", USAGE)
        told[second] = calls
    if not told:
        raise CommandFailed(f"{file}: there is no load in it.", USAGE)
    return [told.get(second, 0.0) for second in range(max(told) + 1)]
