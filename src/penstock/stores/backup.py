"""A home folder in one file, made while the stack runs. `stores/restore.py` puts it back.

What refers is copied before what it refers to: the token and the keys around the state database, that one before
MLflow's, that one before the artifacts. A version's files are there before the version is, and the version before an
endpoint that serves it. So whatever a copied row names is copied after it, though everything goes on being written.
"""

import contextlib
import io
import json
import os
import sqlite3
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from penstock import __version__
from penstock.settings import Home

SUFFIXES = (".tar.gz", ".tgz", ".tar")
FORMAT = 1
MANIFEST = "manifest.json"
"""The last member: what comes before it is whole."""
KEPT_FOLDERS = ("mlflow/artifacts", "spool", "table-writer", "warehouse")
"""In this order: what is in the spool is in a table later, and a table's log names its data files."""
_DELTA_LOG = "_delta_log"
_WHOLE_BYTES = 64 << 20
"""A file up to this size is read whole, so that it may change meanwhile."""
_KEY_READS = 5
_DATABASE_TIMEOUT_S = 60.0


class BackupFailed(Exception):
    """A backup cannot be written or put back; the message says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds."""

    files: int
    size_bytes: int
    """Before it is compressed."""
    created_at_ms: int
    release: str
    """The release of Penstock that wrote it."""
    has_key: bool
    """Whether the keys that open secrets are in it."""


def write_backup(home: Home, target: Path, *, with_key: bool) -> Contents:
    """Copy everything of a home that cannot be made again into one new file, readable by its owner only.

    Raises:
        BackupFailed: there is nothing to copy, or something cannot be read or written. No file is left then.
    """
    if not home.database.exists():
        raise BackupFailed(f"{home.path} holds no stack: there is no {home.database.name} in it.")
    if target.exists():
        raise BackupFailed(f"{target} exists already; a backup never replaces a file.")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".partial") as scratch:
            partial = Path(scratch) / "backup"
            contents = _write(home, partial, Path(scratch), "w:gz" if target.suffix != ".tar" else "w", with_key)
            partial.rename(target)
            sync_folder(target.parent)
    except (OSError, sqlite3.Error) as exc:
        raise BackupFailed(f"The backup cannot be written: {exc}.") from exc
    return contents


def _write(home: Home, partial: Path, scratch: Path, mode: str, with_key: bool) -> Contents:
    with private_file(partial) as file:
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            writer = _Writer(archive)
            writer.add_bytes("token", _read_if_there(home.token_file))
            key, database = _key_and_database(home, scratch)
            if with_key:
                writer.add_bytes("secrets.key", key)
            writer.add_file("penstock.db", database)
            if home.mlflow_database.exists():
                copy = scratch / "mlflow.db"
                _snapshot(home.mlflow_database, copy)
                writer.add_file("mlflow/mlflow.db", copy)
            for folder in KEPT_FOLDERS:
                writer.add_folder(home.path, folder)
            has_key = with_key and key is not None
            contents = Contents(writer.files, writer.size_bytes, time.time_ns() // 1_000_000, __version__, has_key)
            writer.add_bytes(MANIFEST, json.dumps({"format": FORMAT, **asdict(contents)}).encode())
        file.flush()
        os.fsync(file.fileno())
    return contents


def _key_and_database(home: Home, scratch: Path) -> tuple[bytes | None, Path]:
    """The keys' file and a copy of the state database that it opens: no rotation came between."""
    copy = scratch / "penstock.db"
    for _ in range(_KEY_READS):
        before = _read_if_there(home.secrets_key_file)
        _snapshot(home.database, copy)
        if _read_if_there(home.secrets_key_file) == before:
            return before, copy
        copy.unlink()
    raise BackupFailed(f"{home.secrets_key_file} kept changing while the database was copied; try again.")


def _snapshot(database: Path, copy: Path) -> None:
    """A database as it is at one moment, whoever writes to it."""
    address = f"file:{quote(str(database))}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=_DATABASE_TIMEOUT_S)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


class _Writer:
    """Adds files to an archive and counts them."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self.files = 0
        self.size_bytes = 0

    def add_bytes(self, name: str, data: bytes | None) -> None:
        """A file with this content; none if there is none."""
        if data is not None:
            self._add(name, len(data), io.BytesIO(data))

    def add_file(self, name: str, path: Path) -> None:
        """A file as it is now; nothing if it is gone, or is no file but a link or a socket."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            if path.is_symlink() or not path.exists():
                return
            raise
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return
            if status.st_size <= _WHOLE_BYTES:
                self.add_bytes(name, file.read(_WHOLE_BYTES))
            else:
                self._add(name, status.st_size, file)

    def add_folder(self, base: Path, folder: str) -> None:
        """All files below a folder, logs of tables first; nothing if there is no such folder."""
        paths = sorted(path for path in (base / folder).rglob("*") if path.is_file() and not path.is_symlink())
        for path in sorted(paths, key=lambda path: _DELTA_LOG not in path.parts):
            self.add_file(path.relative_to(base).as_posix(), path)

    def _add(self, name: str, size_bytes: int, content: io.BufferedIOBase) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size_bytes, 0o600, int(time.time())
        self._archive.addfile(member, content)
        self.files += 1
        self.size_bytes += size_bytes


def _read_if_there(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[io.BufferedWriter]:
    """A new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
