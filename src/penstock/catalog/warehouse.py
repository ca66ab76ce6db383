"""The warehouse folder: a Delta table is `<catalog>/<schema>/<table>` with a log in it."""

from collections.abc import Iterator
from pathlib import Path

from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName, check_name_part

LOG = "_delta_log"


def found_tables(warehouse: Path) -> list[Table]:
    """The tables under the folder, by name. Links are not followed; a table that lies elsewhere can be registered."""
    found: dict[TableName, Table] = {}
    for catalog in _folders(warehouse):
        for schema in _folders(catalog):
            for table in _folders(schema):
                if is_delta(table):
                    name = TableName(catalog.name.lower(), schema.name.lower(), table.name.lower())
                    found.setdefault(name, Table(name, TableType.MANAGED, str(table)))
    return [found[name] for name in sorted(found)]


def is_delta(folder: Path) -> bool:
    """Whether there is a Delta table in a folder."""
    try:
        return (folder / LOG).is_dir()
    except (OSError, ValueError):
        return False


def _folders(parent: Path) -> Iterator[Path]:
    """Folders whose names can be parts of a table's name; those that cannot be read hold nothing for us."""
    try:
        entries = sorted(parent.iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            check_name_part(entry.name, "folder")
            if entry.is_dir() and not entry.is_symlink():
                yield entry
        except (InvalidParameterValue, OSError):
            continue
