"""Use cases of tables: which a caller may see, and registering such as lie elsewhere."""

from collections.abc import Callable
from pathlib import Path

from penstock.catalog.ports import LocalSource
from penstock.catalog.warehouse import is_delta
from penstock.control.permissions import Permissions
from penstock.domain.catalog import RegisteredTable, Table, TableType, family_of
from penstock.domain.errors import InvalidParameterValue, ResourceAlreadyExists, TableDoesNotExist
from penstock.domain.signature import Signature
from penstock.domain.table_name import TableName, parse_table_name
from penstock.stores.database import Database
from penstock.stores.tables import TableStore


class Catalog:
    """Tables by their names, as callers may see them.

    Admins see all tables. Others see those of the endpoints on which they have CAN_VIEW: where several endpoints log
    to one table, on all of them.
    """

    def __init__(
        self,
        source: LocalSource,
        store: TableStore,
        database: Database,
        permissions: Permissions,
        now_ms: Callable[[], int],
    ) -> None:
        self._source = source
        self._store = store
        self._database = database
        self._permissions = permissions
        self._now_ms = now_ms

    def visible(self, caller: str) -> list[Table]:
        """The tables and views that the caller may see, by name."""
        tables = self._source.tables()
        if self._permissions.is_admin(caller):
            return tables
        names = self._names_of_endpoints(caller)
        return [table for table in tables if table.name in names]

    def get(self, name: str, caller: str) -> Table:
        """The table of a name.

        Raises:
            InvalidParameterValue: it is no name.
            TableDoesNotExist: there is none, or the caller may not see it.
        """
        wanted = parse_table_name(name, "name")
        found = next((table for table in self.visible(caller) if table.name == wanted), None)
        if found is None:
            raise TableDoesNotExist(f"Table '{wanted}' does not exist.")
        return found

    def models(self, payload: TableName) -> dict[str, Signature]:
        """The signatures of models that a payload table tells of, the newest first."""
        return self._source.models(payload)

    def register(self, name: str, path: str, caller: str) -> Table:
        """Give a Delta table that lies outside of the warehouse folder a name.

        Raises:
            PermissionDenied: the caller is no admin.
            InvalidParameterValue: the name is none, or no Delta table is at the path.
            ResourceAlreadyExists: the name is taken.
        """
        self._permissions.require_admin(caller, "register tables")
        wanted = parse_table_name(name, "name")
        folder = _checked(path)
        if any(table.name == wanted for table in self._source.tables()):
            raise ResourceAlreadyExists(f"name: a table '{wanted}' exists already.")
        self._store.insert(RegisteredTable(wanted, folder, caller, self._now_ms()))
        return Table(wanted, TableType.EXTERNAL, folder)

    def unregister(self, name: str, caller: str) -> None:
        """Take the name from a registered table; the Delta table stays as it is.

        Raises:
            PermissionDenied: the caller is no admin.
            InvalidParameterValue: it is no name.
            TableDoesNotExist: no such table was registered.
        """
        self._permissions.require_admin(caller, "unregister tables")
        self._store.delete(parse_table_name(name, "name"))

    def _names_of_endpoints(self, caller: str) -> frozenset[TableName]:
        seen = {endpoint.name for endpoint in self._permissions.visible(caller, self._database.endpoints())}
        payloads = self._source.payload_tables()
        hidden = {payload.name for payload in payloads if payload.endpoint not in seen}
        return frozenset().union(*(family_of(p.name) for p in payloads if p.name not in hidden))


def _checked(path: str) -> str:
    folder = Path(path)
    if not folder.is_absolute() or "%" in path or "\0" in path:
        raise InvalidParameterValue(f"path: got '{path}'; wanted an absolute path without '%'.")
    if not is_delta(folder):
        raise InvalidParameterValue(f"path: there is no Delta table in '{path}': it has no folder '_delta_log'.")
    return str(folder)
