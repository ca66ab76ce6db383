"""What a source was when its run began: a run that goes on later scores the very same rows, or says that it cannot."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from penstock.batch.columnar import ColumnarRows, local_filesystem, parquet_rows
from penstock.batch.pieces import Rows
from penstock.batch.places import Places
from penstock.batch.plan import Format, Source, format_of
from penstock.batch.text import csv_rows, json_rows
from penstock.domain.errors import InvalidParameterValue, NotSupported, ResourceConflict, ResourceDoesNotExist

_MAX_FILES = 100_000


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file as it was found."""

    path: str
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """A version of a Delta table, or files as they were found, by name."""

    format: Format
    path: str
    version: int | None = None
    table_id: str = ""
    files: tuple[PinnedFile, ...] = ()


def pin(source: Source, places: Places) -> PinnedSource:
    """What a source is now.

    Raises:
        ResourceDoesNotExist: there is no table, no such version, or no file.
        InvalidParameterValue: it is no version that a table has, or there are too many files.
        ResourceConflict: it cannot be read.
    """
    if places.source_format is not Format.DELTA:
        files = tuple(_found(path) for path in sorted(_paths(source, places)))
        if not files:
            raise ResourceDoesNotExist(f"source: there is no file of format {places.source_format} at {places.source}.")
        return PinnedSource(places.source_format, places.source, files=files)
    table = _open(places.source, source.version)
    if source.timestamp is not None:
        try:
            table.load_as_version(source.timestamp)
        except (DeltaError, OSError, ValueError) as exc:
            raise InvalidParameterValue(
                f"source timestamp: {places.source} has no version of {source.timestamp.isoformat()}: {exc}"
            ) from exc
    return PinnedSource(Format.DELTA, places.source, table.version(), str(table.metadata().id))


def open_rows(source: PinnedSource, known: pa.Schema) -> Rows:
    """The rows of a pinned source; `known` are types that the model's signature tells of, for files of text.

    Raises:
        ResourceConflict: it has changed since it was pinned, or cannot be read.
        NotSupported: it is a Delta table with features that are not read here.
    """
    if source.format is Format.DELTA:
        return _delta_rows(source)
    for file in source.files:
        if _now(file.path) != file:
            raise ResourceConflict(
                f"source: {file.path} is not as it was when the run began ({file.size_bytes} bytes); its rows cannot "
                "be told from those that are scored already. Begin a new run."
            )
    paths = [file.path for file in source.files]
    try:
        match source.format:
            case Format.PARQUET:
                return parquet_rows(paths, source.path if Path(source.path).is_dir() else None)
            case Format.CSV:
                return csv_rows(paths, known)
            case Format.JSON:
                return json_rows(paths, known)
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise ResourceConflict(f"source: {source.path} cannot be read as {source.format}: {exc}") from exc


def _delta_rows(source: PinnedSource) -> Rows:
    table = _open(source.path, source.version)
    if str(table.metadata().id) != source.table_id:
        raise ResourceConflict(f"source: {source.path} is another table than when the run began. Begin a new run.")
    try:
        dataset = table.to_pyarrow_dataset(filesystem=local_filesystem(Path(source.path)))
        return ColumnarRows(dataset)
    except (DeltaError, OSError, pa.ArrowException, ValueError) as exc:
        if "feature" in str(exc):
            raise NotSupported(f"source: {source.path} cannot be read: {exc}") from exc
        raise ResourceConflict(f"source: version {source.version} of {source.path} cannot be read: {exc}") from exc


def _open(path: str, version: int | None) -> DeltaTable:
    try:
        return DeltaTable(path, version=version)
    except TableNotFoundError as exc:
        raise ResourceDoesNotExist(f"source: there is no Delta table in {path}.") from exc
    except (DeltaError, OSError, ValueError) as exc:
        told = "" if version is None else f" at version {version}"
        raise InvalidParameterValue(f"source: the Delta table in {path} cannot be read{told}: {exc}") from exc


def _paths(source: Source, places: Places) -> Iterator[str]:
    """The files of a path or glob; names that begin with a full stop or an underscore are none of the data's."""
    if source.is_glob:
        found = (Path(path) for path in glob.iglob(places.source, recursive=True))  # noqa: PTH207 - of a whole path
        yield from map(str, filter(Path.is_file, found))
        return
    root = Path(places.source)
    if root.is_file():
        yield str(root)
        return
    for count, path in enumerate(root.rglob("*")):
        if count > _MAX_FILES:
            raise InvalidParameterValue(f"source: {root} has over {_MAX_FILES} files; wanted a part of them at a time.")
        inner = path.relative_to(root).parts
        if format_of(path.name) is places.source_format and path.is_file() and not any(p[0] in "._" for p in inner):
            yield str(path)


def _found(path: str) -> PinnedFile:
    found = _now(path)
    if found is None:
        raise ResourceConflict(f"source: {path} cannot be read.")
    return found


def _now(path: str) -> PinnedFile | None:
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return PinnedFile(path, stat.st_size, stat.st_mtime_ns)
