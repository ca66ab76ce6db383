"""What is known of a run on disk: what it is to do, and which chunks are done.

    <home>/batch/<run id>/run.json       written once, before anything is scored
                          schema.arrow   the target's columns, from the first chunk on
                          journal.jsonl  a line for each chunk whose files are written, and for each commit
                          staged/        files that are to be merged
                          model/         the model's files, until the run is done
                          done.json      the summary; from then on there is nothing to go on with

The journal is ahead of the tables, never behind: a chunk is told of when its files are whole, and committed then.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from penstock.batch.model_source import ModelIdentity
from penstock.batch.pinning import PinnedSource
from penstock.batch.places import Places
from penstock.batch.plan import Plan
from penstock.domain.errors import ResourceConflict, ResourceDoesNotExist
from penstock.runtime.lock import Locked, lock
from penstock.wire.whole_file import write_whole

_NEW = ".new-"
_FETCHED = "fetched"


@dataclass(frozen=True, slots=True)
class RunDocument:
    """What a run is to do, to the last detail."""

    run_id: str
    created_at: datetime
    plan: Plan
    places: Places
    source: PinnedSource
    model: ModelIdentity
    replaced: tuple[str, ...] = ()
    """Parquet files that go when the target is overwritten."""


@dataclass(frozen=True, slots=True)
class Part:
    """Files of a chunk that are written whole."""

    chunk: int
    start: int
    records: int
    rows_out: int
    rows_failed: int
    rows_superseded: int = 0
    """Rows of the chunk of whose keys a later row has the same."""
    file: str | None = None
    """Of scored rows; None if there are none."""
    size_bytes: int = 0
    errors_file: str | None = None
    errors_size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run."""

    run_id: str
    rows_in: int
    rows_out: int
    rows_failed: int
    seconds: float
    rows_superseded: int = 0


@dataclass(slots=True)
class Journal:
    """What a run has done so far."""

    parts: list[Part] = field(default_factory=list)
    committed: int = 0
    """How many chunks are known to be in the target; there may be more."""
    seconds: float = 0.0
    """Spent on those."""

    @property
    def rows_in(self) -> int:
        """Rows that have been read."""
        return sum(part.records for part in self.parts)

    @property
    def rows_failed(self) -> int:
        """Those of them that could not be scored."""
        return sum(part.rows_failed for part in self.parts)


class _Line(msgspec.Struct, omit_defaults=True):
    part: Part | None = None
    committed: int = 0
    seconds: float = 0.0


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._model = path / "model"
        self.staged = path / "staged"
        self._journal = path / "journal.jsonl"

    @property
    def model(self) -> Path:
        """Where the model's files are; MLflow wants no link in the path."""
        return self._model.resolve()

    @property
    def run_id(self) -> str:
        """The run's."""
        return self.path.name

    def document(self) -> RunDocument:
        """What the run is to do.

        Raises:
            ResourceDoesNotExist: there is no such run.
            ResourceConflict: what is there is of another release.
        """
        try:
            return msgspec.json.decode((self.path / "run.json").read_bytes(), type=RunDocument)
        except FileNotFoundError as exc:
            raise ResourceDoesNotExist(f"There is no batch run '{self.run_id}' in {self.path.parent}.") from exc
        except (OSError, msgspec.MsgspecError) as exc:
            raise ResourceConflict(f"Batch run '{self.run_id}' cannot be read: {exc}") from exc

    def summary(self) -> Summary | None:
        """What came of the run; None while it is not done."""
        try:
            return msgspec.json.decode((self.path / "done.json").read_bytes(), type=Summary)
        except FileNotFoundError:
            return None

    def journal(self) -> Journal:
        """What has been done; half a line at the end, of a writer that was killed, is cut off."""
        journal = Journal()
        data = self._journal.read_bytes() if self._journal.exists() else b""
        whole, _, torn = data.rpartition(b"\n")
        if torn:
            os.truncate(self._journal, len(data) - len(torn))
        for text in whole.splitlines():
            line = msgspec.json.decode(text, type=_Line)
            if line.part is not None:
                journal.parts.append(line.part)
            journal.committed = max(journal.committed, line.committed)
            journal.seconds += line.seconds
        return journal

    def forget_parts(self, kept: Journal) -> None:
        """Let the journal tell of no more than that."""
        lines = [_Line(part=part) for part in kept.parts]
        lines.append(_Line(committed=kept.committed, seconds=kept.seconds))
        data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        write_whole(self._journal, data, is_synced=True)

    def note_part(self, part: Part, seconds: float) -> None:
        """Tell of a chunk whose files are written."""
        self._note(_Line(part=part, seconds=seconds))

    def note_commit(self, committed: int, seconds: float) -> None:
        """Tell how many chunks are in the target."""
        self._note(_Line(committed=committed, seconds=seconds))

    def _note(self, line: _Line) -> None:
        with self._journal.open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def schema(self) -> pa.Schema | None:
        """The target's columns; None before the first chunk is scored."""
        path = self.path / "schema.arrow"
        return pa.ipc.read_schema(pa.py_buffer(path.read_bytes())) if path.exists() else None

    def note_schema(self, schema: pa.Schema) -> None:
        """Tell the target's columns."""
        write_whole(self.path / "schema.arrow", schema.serialize().to_pybytes(), is_synced=True)

    def finish(self, summary: Summary) -> None:
        """Nothing is left to do; what is not worth keeping goes."""
        write_whole(self.path / "done.json", msgspec.json.encode(summary), is_synced=True)
        if self._model.is_symlink():
            self._model.unlink()
        for folder in (self._model, self.staged):
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The run is ours alone.

        Raises:
            ResourceConflict: another process works on it.
        """
        try:
            with lock(self.path / "lock"):
                yield
        except Locked as exc:
            raise ResourceConflict(f"Batch run '{self.run_id}' is being worked on by another process.") from exc


def create_run(runs: Path, document: RunDocument, model: Path) -> RunFolder:
    """A folder for a run, there whole or not at all; the model's files are moved or linked into it."""
    new = runs / f"{_NEW}{document.run_id}"
    new.mkdir(parents=True, exist_ok=True)
    if model.is_relative_to(new):
        model.rename(new / "model")
        shutil.rmtree(new / _FETCHED, ignore_errors=True)
    else:
        (new / "model").symlink_to(model, target_is_directory=True)
    write_whole(new / "run.json", msgspec.json.encode(document), is_synced=True)
    new.rename(runs / document.run_id)
    return RunFolder(runs / document.run_id)


def fetching_folder(runs: Path, run_id: str) -> Path:
    """Where the model of a run is fetched that is not created yet."""
    folder = runs / f"{_NEW}{run_id}" / _FETCHED
    folder.mkdir(parents=True)
    return folder


def all_runs(runs: Path) -> list[RunFolder]:
    """The runs of a home, the newest last; those that cannot be read are left out."""
    paths = runs.iterdir() if runs.is_dir() else ()
    found = [path for path in paths if not path.name.startswith(".") and (path / "run.json").is_file()]
    return [RunFolder(path) for path in sorted(found, key=lambda path: (path / "run.json").stat().st_mtime_ns)]
