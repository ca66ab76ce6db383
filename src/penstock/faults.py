"""Fault points: where a crash hurts most, so that tests can have one there, and see what is left.

`PENSTOCK_FAULT=<point>[:nth]` has the process that reaches the point for the nth time killed there, as `kill -9` does;
several points are separated by commas. Each fires once while a supervisor runs: the process that comes back passes it.
The points are always in the code. As long as none is named, each costs a look at one name of this module.
"""

import os
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "PENSTOCK_FAULT"
_MARKER_PREFIX = "fault-fired-"


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """A place in the code."""

    name: str
    process: str
    """The role of the process that reaches it."""
    what: str
    """What has been done and what has not."""


POINTS = {
    point.name: point
    for point in (
        FaultPoint("config-before-commit", "control-plane", "an endpoint is written, its transaction is not committed"),
        FaultPoint("config-after-commit", "control-plane", "an endpoint is committed, nobody has been told"),
        FaultPoint("table-before-rename", "control-plane", "a routing table is written beside the one that counts"),
        FaultPoint("table-after-rename", "control-plane", "a routing table is saved, no gateway has it"),
        FaultPoint("table-after-send", "control-plane", "a routing table is sent, nobody has acknowledged it"),
        FaultPoint("launch-before-ask", "control-plane", "a replica is about to be asked for"),
        FaultPoint("launch-after-ask", "control-plane", "a replica is being started, nobody has noted it"),
        FaultPoint("stop-after-ask", "control-plane", "a replica is being drained, nobody has noted it"),
        FaultPoint("token-before-rename", "control-plane", "the first token is stored, its file is not in place"),
        FaultPoint("table-before-acknowledge", "gateway", "a routing table is in use and not acknowledged"),
        FaultPoint("spool-before-write", "gateway", "answers are ready, their records are not written"),
        FaultPoint("spool-after-write", "gateway", "records are written, their answers have not left"),
        FaultPoint("child-before-note", "supervisor", "a child's process has been started and not noted"),
        FaultPoint("fork-before-note", "supervisor", "a replica has been forked and not noted"),
        FaultPoint("child-before-restart", "supervisor", "a child has died and is not to be started again yet"),
        FaultPoint("status-before-rename", "supervisor", "everything is up, and where it is has not been told"),
        FaultPoint("table-after-create", "table-writer", "an inference table is made, it has no rows"),
        FaultPoint("rows-before-commit", "table-writer", "rows are read from the spool, their table has none of them"),
        FaultPoint("rows-after-commit", "table-writer", "rows are committed to one table, nobody has noted it"),
        FaultPoint("rows-after-park", "table-writer", "rows are parked, nobody has noted it"),
        FaultPoint("segment-before-delete", "table-writer", "all of a segment is committed, it is still there"),
        FaultPoint("segment-after-delete", "table-writer", "a segment is deleted, others may follow"),
        FaultPoint("artifact-before-rename", "replica", "a model is fetched, its folder has no final name"),
        FaultPoint("artifact-after-rename", "replica", "a model's folder is in place, nothing is loaded"),
        FaultPoint("batch-before-work", "batch", "a batch run is written down, or taken up again; nothing is done yet"),
        FaultPoint("batch-after-create", "batch", "the Delta table of a batch run is made, it has no rows"),
        FaultPoint("batch-before-journal", "batch", "a chunk's files are written, the journal does not tell of them"),
        FaultPoint("batch-after-journal", "batch", "the journal tells of a chunk, no table has its rows"),
        FaultPoint("batch-before-commit", "batch", "chunks are staged and about to be committed to a Delta table"),
        FaultPoint("batch-after-commit", "batch", "chunks are committed to one Delta table, the journal is behind"),
        FaultPoint("batch-before-rename", "batch", "a chunk's Parquet file is written and not in place"),
        FaultPoint("batch-after-rename", "batch", "a chunk's Parquet file is in place, the journal is behind"),
        FaultPoint("batch-before-replace", "batch", "new Parquet files are in place, those that they replace too"),
        FaultPoint("batch-before-done", "batch", "all rows are in their tables, the run is not noted as done"),
        FaultPoint("replica-before-ready", "replica", "a model is loaded, the supervisor has not been told"),
    )
}


class BadFault(ValueError):
    """A variable names no point of ours, or no number after it."""


class _Armed:
    """The points that are to fire in this process, and how often each has been reached."""

    def __init__(self, faults: Mapping[str, int], folder: Path) -> None:
        self._faults = faults
        self._folder = folder
        self._reached: Counter[str] = Counter()

    def reach(self, name: str) -> None:
        self._reached[name] += 1
        if self._faults.get(name) != self._reached[name]:
            return
        try:
            os.close(os.open(self._folder / f"{_MARKER_PREFIX}{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def fault_point(name: str) -> None:
    """A point of that name; see `POINTS`."""
    if _armed is not None:
        _armed.reach(name)


def parse_faults(text: str) -> dict[str, int]:
    """Points and the times at which they are to fire.

    Raises:
        BadFault: saying which point or number is not as wanted.
    """
    faults = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, nth = part.partition(":")
        if name not in POINTS:
            raise BadFault(f"got '{name}'; wanted a point that 'penstock faults list' tells")
        if colon and not (nth.isascii() and nth.isdigit() and int(nth) > 0):
            raise BadFault(f"got '{part}'; wanted a whole number from 1 after the colon")
        faults[name] = int(nth) if colon else 1
    return faults


def arm(text: str, folder: Path) -> None:
    """Have points fire in this process; what is no point does nothing, for `Settings` has refused it already.

    Args:
        text: the variable's value.
        folder: where it is marked that a point has fired.
    """
    global _armed  # noqa: PLW0603 - a point must cost nothing where none is named, and be reachable from everywhere
    try:
        faults = parse_faults(text)
    except BadFault:
        faults = {}
    _armed = _Armed(faults, folder) if faults else None


def forget_fired(folder: Path) -> None:
    """A new supervisor begins: every point may fire again."""
    for marker in folder.glob(f"{_MARKER_PREFIX}*"):
        marker.unlink(missing_ok=True)
