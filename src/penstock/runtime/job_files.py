"""What runs of jobs leave on disk, below `jobs/` in the home folder.

`<run>/work/` is the folder in which its tasks run, `<run>/<attempt>/` belongs to one attempt. That this one is there
says that its process was started: it is made just before, by whoever starts it, and never twice.
"""

import contextlib
import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.domain.jobs.output import failure_in
from penstock.domain.jobs.planning import Ended
from penstock.domain.jobs.run import Rows
from penstock.runtime.capture import read_log
from penstock.wire.whole_file import write_whole

MAX_LOG_BYTES = 4 << 20
"""Of an attempt; with its older part it is twice that."""
MAX_TOLD_LOG_BYTES = 5 << 20
_MAX_RESULT_BYTES = 64 << 20
_MAX_FAILURE_BYTES = 128 << 10
_LOG, _EXIT, _RESULT, _BATCH = "log", "exit.json", "result.json", "batch.json"
_BATCH_RUN = re.compile(rb"^Batch run ([0-9A-Za-z]+)\r?$", re.MULTILINE)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AttemptFiles:
    """The folder of one attempt."""

    folder: Path

    @property
    def log(self) -> Path:
        """What its process printed."""
        return self.folder / _LOG

    @property
    def result(self) -> Path:
        """JSON: what a notebook came to."""
        return self.folder / _RESULT

    @property
    def batch(self) -> Path:
        """JSON: the summary of a batch run."""
        return self.folder / _BATCH

    def begin(self) -> bool:
        """Note that the process is about to be started; False if it was before.

        Raises:
            OSError: that cannot be noted.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def note_exit(self, exit_code: int | None, message: str, *, is_with_stack: bool) -> None:
        """Tell how the process ended.

        Raises:
            OSError: that cannot be told.
        """
        at_ms = time.time_ns() // 1_000_000
        document = {"at_ms": at_ms, "exit_code": exit_code, "message": message, "is_with_stack": is_with_stack}
        _write(self.folder / _EXIT, document)

    def write_result(self, document: Json) -> None:
        """Tell what a notebook came to.

        Raises:
            OSError: that cannot be told.
        """
        _write(self.result, document)

    def ended(self) -> Ended | None:
        """How the process ended; None if that was not told."""
        document = _read(self.folder / _EXIT)
        if document is None:
            return None
        exit_code, message = document["exit_code"], document["message"]
        if exit_code is not None and exit_code > 0:
            message = self.failure()[0] or message
        rows = rows_in(_read(self.batch))
        return Ended(document["at_ms"], exit_code, message, rows, is_with_stack=document["is_with_stack"])

    def failure(self) -> tuple[str, str]:
        """The error with which the process ended and its traceback, as far as it told them; else empty."""
        result = self.read_result() or {}
        if result.get("error"):
            return result["error"], result.get("error_trace", "")
        return failure_in(read_log(self.log, _MAX_FAILURE_BYTES))

    def was_begun(self) -> bool:
        """Whether a process was started."""
        return self.folder.is_dir()

    def read_log(self) -> tuple[str, bool]:
        """The end of the log, and whether that is not all of it."""
        size = 0
        for part in (self.log, self.log.with_name(f"{_LOG}.1")):
            with contextlib.suppress(OSError):
                size += part.stat().st_size
        return read_log(self.log, MAX_TOLD_LOG_BYTES), size > min(MAX_TOLD_LOG_BYTES, MAX_LOG_BYTES * 2)

    def read_result(self) -> Json | None:
        """What a notebook came to."""
        return _read(self.result)

    def batch_run(self) -> str | None:
        """The id of the batch run that the process began or went on with, as it printed it; None if it did not."""
        for part in (self.log.with_name(f"{_LOG}.1"), self.log):
            with contextlib.suppress(OSError), part.open("rb") as log:
                if (found := _BATCH_RUN.search(log.read(_MAX_FAILURE_BYTES))) is not None:
                    return found[1].decode()
        return None

    def read_batch(self) -> Json | None:
        """The summary of a batch run."""
        return _read(self.batch)


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The folder of all runs."""

    folder: Path

    def work(self, run_id: int) -> Path:
        """Where the tasks of a run run."""
        return self.folder / str(run_id) / "work"

    def attempt(self, run_id: int, attempt_id: int) -> AttemptFiles:
        """The files of an attempt."""
        return AttemptFiles(self.folder / str(run_id) / str(attempt_id))

    def delete(self, run_id: int) -> None:
        """Remove all that a run has left."""
        shutil.rmtree(self.folder / str(run_id), ignore_errors=True)

    def run_ids(self) -> list[int]:
        """The runs that have left something."""
        with contextlib.suppress(OSError):
            return [int(entry.name) for entry in self.folder.iterdir() if entry.name.isdigit()]
        return []


def rows_in(summary: Json | None) -> Rows | None:
    """What the summary of a batch run says of rows."""
    try:
        return None if summary is None else Rows(*(int(summary[f"rows_{name}"]) for name in ("in", "out", "failed")))
    except (KeyError, TypeError, ValueError):
        return None


def _write(file: Path, document: Json) -> None:
    write_whole(file, json.dumps(document).encode(), is_synced=True)


def _read(file: Path) -> Json | None:
    """A JSON object; None if it is not there, or is none."""
    with contextlib.suppress(OSError, ValueError):
        if file.stat().st_size <= _MAX_RESULT_BYTES:
            document = json.loads(file.read_text())
            return document if isinstance(document, dict) else None
    return None
