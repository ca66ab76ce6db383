"""DuckDB with its Delta extension, both from wheels: nothing is downloaded, nothing but Delta tables is read."""

from pathlib import Path
from urllib.parse import quote

import duckdb
import duckdb_extension_delta

from penstock.domain.errors import TemporarilyUnavailable

_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


def connect() -> duckdb.DuckDBPyConnection:
    """A connection that can read Delta tables; times are UTC."""
    connection = duckdb.connect(":memory:", config=_OFFLINE)
    connection.execute(f"LOAD {literal(str(_extension()))}")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def lock(connection: duckdb.DuckDBPyConnection, folders: list[str]) -> None:
    """From now on statements read nothing but these folders, and change no setting."""
    names = ", ".join(literal(folder.rstrip("/") + "/") for folder in folders)
    connection.execute(f"SET allowed_directories = [{names}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def scan(path: str) -> str:
    """The table function that reads a Delta table, as SQL."""
    return f"delta_scan({literal('file://' + quote(path))})"


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _extension() -> Path:
    folder = Path(duckdb_extension_delta.__file__).parent / "extensions" / f"v{duckdb.__version__}"
    file = folder / "delta.duckdb_extension"
    if not file.is_file():
        raise TemporarilyUnavailable(
            f"DuckDB has no Delta extension: install duckdb-extension-delta {duckdb.__version__}."
        )
    return file
