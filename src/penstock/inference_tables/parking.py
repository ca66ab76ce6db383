"""Rows that cannot go where they belong: those that a table does not take now, and those that no table ever will.

The first are `parked`, by table, and come back in the order in which they were put there once the table takes rows
again. The second are `refused`, and what cannot even be read is `damaged`: both are kept for people to look at. All of
it has one bound; beyond it the oldest goes, and is counted.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from penstock.faults import fault_point
from penstock.inference_tables.chunk import Refused, Rows
from penstock.inference_tables.row_kinds import kind_of_name

_PARKED, _REFUSED, _DAMAGED = "parked", "refused", "damaged"
_PARTIAL = ".partial"

_line = msgspec.json.Decoder(tuple[int, list[Any]])

_log = logging.getLogger(__name__)


class _Head(msgspec.Struct, frozen=True):
    """The first line of a parked file; rows follow, a line each: the position behind it, and its values."""

    app: str
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Parked:
    """What a file holds: rows for one table."""

    app: str
    """The source that they come from."""
    end: int
    """The position behind the last of them."""
    rows: Rows


class Parking:
    """The folder of the table writer."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def park(self, table: str, app: str, end: int, rows: Rows) -> None:
        """Keep rows until their table takes them. The same chunk of the same source is kept once.

        Raises:
            OSError: they cannot be written.
        """
        head = _Head(app, end, rows.kind.name)
        lines = [msgspec.json.encode(head), *map(msgspec.json.encode, zip(rows.positions, rows.values, strict=True))]
        self._write(self._parked(table) / _file_name(app, end), lines)
        fault_point("rows-after-park")

    def waiting(self, table: str) -> list[Path]:
        """The files for a table, in the order in which they were parked."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            files = [path for path in self._parked(table).iterdir() if path.suffix == ".jsonl"]
            return sorted(files, key=lambda path: path.name.rpartition("@")[2])
        return []

    def tables(self) -> list[str]:
        """The tables for which rows wait."""
        return sorted({".".join(path.parts[-4:-1]) for path in (self._folder / _PARKED).glob("*/*/*/*.jsonl")})

    def read(self, path: Path) -> Parked:
        """A parked file.

        Raises:
            OSError: it cannot be read.
            MsgspecError, KeyError: it is not as we wrote it.
        """
        with path.open("rb") as file:
            head = msgspec.json.decode(file.readline(), type=_Head)
            rows = Rows(kind_of_name(head.kind))
            for line in file:
                position, values = _line.decode(line)
                rows.positions.append(position)
                rows.values.append(tuple(values))
        return Parked(head.app, head.end, rows)

    def parked_up_to(self, table: str, app: str) -> int:
        """The position up to which rows of a source for a table have been parked; -1 if none are."""
        prefix = _file_name(app, 0).rpartition("@")[0]
        ends = (path.stem.rpartition("@") for path in self.waiting(table))
        return max((int(end) for source, _, end in ends if source == prefix), default=-1)

    def remove(self, path: Path) -> None:
        """The rows of a file are in their table.

        Raises:
            OSError: it cannot be removed.
        """
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # only if that was the last one

    def set_aside(self, path: Path, reason: str) -> None:
        """A parked file is not as we wrote it: keep it for people to look at.

        Raises:
            OSError: it cannot be moved.
        """
        _log.error("%s cannot be read, and is kept in %s: %s", path, self._folder / _DAMAGED, reason)
        (self._folder / _DAMAGED).mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(self._folder / _DAMAGED / path.name)

    def refuse(self, what: str, app: str, end: int, refused: Sequence[Refused]) -> None:
        """Keep what makes no row, with the reason; `what` is the table that it is for, or what kind of thing it is.

        Raises:
            OSError: it cannot be written.
        """
        _log.error("%s: %d row(s) are refused, the first because %s", what, len(refused), refused[0].reason)
        lines = [msgspec.json.encode(one) for one in refused]
        self._write((self._folder / _REFUSED).joinpath(*what.split(".")) / _file_name(app, end), lines)

    def keep_damaged(self, source: str, segment: Path, offset: int, reason: str) -> None:
        """Keep the rest of a segment that cannot be read.

        Raises:
            OSError: it cannot be written.
        """
        _log.error("%s: %s; the rest of it is kept in %s", segment, reason, self._folder / _DAMAGED)
        target = self._folder / _DAMAGED / f"{source}~{segment.stem}~{offset}.spool"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = target.with_name(target.name + _PARTIAL)
        with segment.open("rb") as file, partial.open("wb") as copy:
            file.seek(offset)
            shutil.copyfileobj(file, copy)
        partial.replace(target)
        self._make_room()

    def _parked(self, table: str) -> Path:
        return (self._folder / _PARKED).joinpath(*table.split("."))

    def _write(self, path: Path, lines: list[bytes]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_name(path.name + _PARTIAL)
        try:
            with partial.open("wb") as file:
                file.writelines(line + b"\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        self._make_room()

    def _make_room(self) -> None:
        """Let the oldest go while all of it is over the bound."""
        files = sorted(
            ((status.st_mtime, status.st_size, path) for path, status in self._files()), key=lambda file: file[0]
        )
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._max_bytes:
                return
            _log.error("%s: %d bytes of rows are dropped: more is parked than may be", path, size)
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self._folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.suffix in {".jsonl", ".spool"}:
                    found.append((path, path.stat()))
        return found


def _file_name(app: str, end: int) -> str:
    return f"{app.replace('/', '~')}@{end:020d}.jsonl"
