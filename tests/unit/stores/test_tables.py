"""Registered tables at rest."""

from pathlib import Path

import pytest

from penstock.domain.catalog import RegisteredTable
from penstock.domain.errors import ResourceAlreadyExists, TableDoesNotExist
from penstock.domain.table_name import TableName
from penstock.stores.database import Database
from penstock.stores.tables import TableStore


def test_p5_4_registered_tables_are_kept_by_name(tmp_path: Path) -> None:
    tables = [RegisteredTable(TableName("a", "b", name), f"/data/{name}", "admin", 7) for name in ("d", "c")]
    database = Database.open(f"sqlite:///{tmp_path / 'state.db'}")
    store = TableStore(database.engine)
    for table in tables:
        store.insert(table)
    with pytest.raises(ResourceAlreadyExists, match=r"a\.b\.c"):
        store.insert(tables[1])
    database.close()
    database = Database.open(f"sqlite:///{tmp_path / 'state.db'}")
    store = TableStore(database.engine)
    assert store.tables() == [tables[1], tables[0]]
    store.delete(tables[1].name)
    with pytest.raises(TableDoesNotExist, match=r"a\.b\.c"):
        store.delete(tables[1].name)
    assert store.tables() == [tables[0]]
    database.close()
