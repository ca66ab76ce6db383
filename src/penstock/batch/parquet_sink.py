"""A folder of Parquet files as a target. A chunk's file is written aside and renamed, which is its commit.

Its final name tells run and chunk, so that it is known whether it is there already. When the folder is overwritten,
nothing is renamed before all chunks are written; then the new files come and the old ones, which were listed when the
run began, go.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.batch.plan import Mode
from penstock.batch.schemas import check_same
from penstock.batch.sinks import StagedFile, is_whole
from penstock.catalog.warehouse import is_delta
from penstock.domain.errors import InvalidParameterValue, ResourceConflict
from penstock.faults import fault_point

_STAGED = "_penstock_"


class ParquetSink:
    """A `Sink`."""

    def __init__(self, path: str, run_id: str, mode: Mode, replaced: Sequence[str]) -> None:
        """Open nothing yet; `replaced` are the files that go when the folder is overwritten."""
        self._path = Path(path)
        self._run_id = run_id
        self._mode = mode
        self._replaced = replaced
        self._staged = self._path / f"{_STAGED}{run_id}"

    def prepare(self, schema: pa.Schema) -> None:
        """See `Sink`."""
        if is_delta(self._path):
            raise InvalidParameterValue(f"target: {self._path} is a Delta table; wanted a folder of Parquet files.")
        if self._path.exists() and not self._path.is_dir():
            raise InvalidParameterValue(f"target: {self._path} is a file; wanted a folder.")
        present = parquet_files(self._path)
        if present and self._mode is Mode.APPEND:
            try:
                found = pq.read_schema(present[0])
            except (OSError, pa.ArrowException) as exc:
                raise ResourceConflict(f"target: {present[0]} cannot be read: {exc}") from exc
            check_same(f"target: {self._path}", found.remove_metadata(), schema)

    def file_of(self, chunk: int) -> Path:
        """See `Sink`."""
        return self._staged / self._name(chunk)

    def committed(self) -> int:
        """See `Sink`: what is renamed is found again by its name, so nothing need be counted."""
        return 0

    def holds(self, file: StagedFile) -> bool:
        """See `Sink`."""
        return is_whole(file, file.path) or is_whole(file, self._path / self._name(file.chunk))

    def commit(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema) -> None:
        """See `Sink`."""
        if self._mode is Mode.APPEND:
            self._publish(files)

    def finish(self, files: Sequence[StagedFile], chunks: int, schema: pa.Schema | None) -> None:
        """See `Sink`."""
        self._publish(files)
        if self._mode is Mode.OVERWRITE:
            fault_point("batch-before-replace")
            for old in self._replaced:
                Path(old).unlink(missing_ok=True)
        shutil.rmtree(self._staged, ignore_errors=True)

    def _publish(self, files: Sequence[StagedFile]) -> None:
        for file in files:
            final = self._path / self._name(file.chunk)
            if final.exists():
                continue
            fault_point("batch-before-rename")
            try:
                self.file_of(file.chunk).rename(final)
            except OSError as exc:
                raise ResourceConflict(f"target: {final} cannot be put in place: {exc}") from exc
            fault_point("batch-after-rename")

    def _name(self, chunk: int) -> str:
        return f"part-{self._run_id}-{chunk:06d}.parquet"


def parquet_files(folder: Path) -> list[str]:
    """The Parquet files of a folder that are data."""
    found = folder.rglob("*.parquet") if folder.is_dir() else ()
    return sorted(str(p) for p in found if not any(part[0] in "._" for part in p.relative_to(folder).parts))
