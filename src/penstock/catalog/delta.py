"""What a Delta table's log says of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from penstock.domain.errors import ResourceConflict, TableDoesNotExist

Field = dict[str, Any]
"""A column in the form of Delta's log: `name`, `type`, `nullable`, `metadata`."""


@dataclass(frozen=True, slots=True)
class Described:
    """The newest version of a table."""

    version: int
    columns: tuple[Field, ...]
    partition_columns: tuple[str, ...]
    properties: dict[str, str]
    created_at_ms: int | None


def describe(name: str, path: str) -> Described:
    """The newest version of the table in a folder; no data is read.

    Raises:
        TableDoesNotExist: there is none (any more).
        ResourceConflict: its log cannot be read.
    """
    table = open_table(name, path)
    try:
        metadata = table.metadata()
        fields = json.loads(table.schema().to_json())["fields"]
    except (DeltaError, OSError, ValueError) as exc:
        raise unreadable(name, path, exc) from exc
    return Described(
        table.version(),
        tuple(fields),
        tuple(metadata.partition_columns),
        dict(metadata.configuration),
        metadata.created_time,
    )


def vacuum(name: str, path: str, retain_hours: int | None, *, is_dry_run: bool) -> list[str]:
    """Delete files that only versions need which are older than that; returns their names.

    Files that no version has ever named are left: a writer may be about to commit them.

    Args:
        name: of the table, for messages.
        path: its folder.
        retain_hours: None for what the table's own properties say, a week by default.
        is_dry_run: only look.

    Raises:
        TableDoesNotExist: there is no table.
        ResourceConflict: it cannot be read, or files cannot be deleted.
    """
    table = open_table(name, path)
    try:
        named = table.vacuum(retain_hours, dry_run=True, enforce_retention_duration=False)
        files = [file for file in named if (Path(path) / unquote(file)).exists()]  # others went long ago
        if files and not is_dry_run:
            table.vacuum(retain_hours, dry_run=False, enforce_retention_duration=False)
        return files
    except (DeltaError, OSError, ValueError) as exc:
        raise unreadable(name, path, exc) from exc


def open_table(name: str, path: str) -> DeltaTable:
    """The newest version of the table in a folder; raises as `describe` does."""
    try:
        return DeltaTable(path)
    except TableNotFoundError as exc:
        raise TableDoesNotExist(f"Table '{name}': there is no Delta table in {path}.") from exc
    except (DeltaError, OSError, ValueError) as exc:
        raise unreadable(name, path, exc) from exc


def unreadable(name: str, path: str, error: Exception) -> ResourceConflict:
    """A table whose log or data cannot be read."""
    return ResourceConflict(f"Table '{name}': the Delta table in {path} cannot be read: {error}")
