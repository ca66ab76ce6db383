"""Puts a backup back into an empty home folder: all of it, or none."""

import contextlib
import gzip
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from penstock.settings import Home
from penstock.stores.backup import FORMAT, KEPT_FOLDERS, MANIFEST, BackupFailed, Contents, private_file, sync_folder

_SCRATCH = ".restoring"
_MAY_BE_THERE = frozenset({"run", "lost+found", _SCRATCH})
"""Entries of a folder that counts as empty all the same."""
_DAMAGED = (
    *(tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error),
    *(ValueError, KeyError, TypeError, AttributeError, sqlite3.Error),
)
"""What reading something else than a whole backup may raise."""


def occupants(home: Home) -> list[str]:
    """What lies in a folder into which a backup is to be put back, and must not."""
    if not home.path.exists():
        return []
    return sorted(path.name for path in home.path.iterdir() if path.name not in _MAY_BE_THERE)


def restore_backup(source: Path, home: Home) -> Contents:
    """Put a backup back into an empty home, whose lock the caller holds. All of it is read before anything is in place.

    Raises:
        BackupFailed: it is no backup or a damaged one, or something cannot be written. The home is empty then.
    """
    scratch = home.path / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        contents = _extract(source, scratch)
        for entry in sorted(scratch.iterdir(), key=lambda path: path.name == home.database.name):
            entry.rename(home.path / entry.name)  # the database last: without it there is no stack
        sync_folder(home.path)
    except _DAMAGED as exc:
        raise BackupFailed(f"{source} is no backup of ours, or a damaged one: {exc}.") from exc
    except OSError as exc:
        raise BackupFailed(f"{source} cannot be put back: {exc}.") from exc
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return contents


def _extract(source: Path, scratch: Path) -> Contents:
    scratch.mkdir(mode=0o700)
    files = size_bytes = 0
    manifest = None
    with source.open("rb") as file, tarfile.open(fileobj=file, mode=_mode_of(file)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or manifest is not None or not _is_ours(member.name):
                raise ValueError(f"it holds '{member.name[:80]}', which no backup does")
            if member.name == MANIFEST:
                manifest = json.load(content)
                continue
            target = scratch / member.name
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with private_file(target) as restored:
                shutil.copyfileobj(content, restored, 1 << 20)
                restored.flush()
                os.fsync(restored.fileno())
            files += 1
            size_bytes += member.size
        while archive.fileobj is not None and archive.fileobj.read(1 << 20):
            pass  # to the very end, where the checksum is
    if manifest is None:
        raise ValueError("its end is missing")
    if (given := manifest.pop("format")) != FORMAT:
        raise ValueError(f"it has format {given}, and this release reads format {FORMAT}")
    if (manifest["files"], manifest["size_bytes"]) != (files, size_bytes):
        raise ValueError(f"{manifest['files']} files were put in, and {files} came out")
    for database in (scratch / "penstock.db", scratch / "mlflow/mlflow.db"):
        _check(database)
    return Contents(**manifest)


def _is_ours(name: str) -> bool:
    path = PurePosixPath(name)
    is_kept = name in {"token", "secrets.key", "penstock.db", "mlflow/mlflow.db", MANIFEST} or any(
        name.startswith(f"{folder}/") for folder in KEPT_FOLDERS
    )
    return is_kept and not path.is_absolute() and ".." not in path.parts


def _mode_of(file: BinaryIO) -> Literal["r:gz", "r:"]:
    is_compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return "r:gz" if is_compressed else "r:"


def _check(database: Path) -> None:
    if not database.exists():
        return
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ValueError(f"{database.name}: {verdict}")
