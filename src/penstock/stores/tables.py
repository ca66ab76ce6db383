"""Registered tables at rest: names of Delta tables that lie outside of the warehouse folder."""

import sqlalchemy as sa

from penstock.domain.catalog import RegisteredTable
from penstock.domain.errors import ResourceAlreadyExists, TableDoesNotExist
from penstock.domain.table_name import TableName
from penstock.stores.sql import metadata, transaction

registered_tables = sa.Table(
    "registered_tables",
    metadata,
    sa.Column("catalog", sa.String, primary_key=True),
    sa.Column("schema", sa.String, primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("creator", sa.String, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)


class TableStore:
    """Registered tables, one call a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def tables(self) -> list[RegisteredTable]:
        """All of them, by name."""
        query = sa.select(registered_tables).order_by(*registered_tables.primary_key)
        with transaction(self._engine) as connection:
            return [
                RegisteredTable(TableName(row.catalog, row.schema, row.name), row.path, row.creator, row.created_at_ms)
                for row in connection.execute(query)
            ]

    def insert(self, table: RegisteredTable) -> None:
        """Store a new one.

        Raises:
            ResourceAlreadyExists: the name is taken.
        """
        row = sa.insert(registered_tables).values(
            catalog=table.name.catalog,
            schema=table.name.schema,
            name=table.name.table,
            path=table.path,
            creator=table.creator,
            created_at_ms=table.created_at_ms,
        )
        try:
            with transaction(self._engine) as connection:
                connection.execute(row)
        except sa.exc.IntegrityError as exc:
            raise ResourceAlreadyExists(f"name: a table '{table.name}' is registered already.") from exc

    def delete(self, name: TableName) -> None:
        """Forget one; the Delta table stays as it is.

        Raises:
            TableDoesNotExist: no such table was registered.
        """
        here = sa.and_(
            registered_tables.c.catalog == name.catalog,
            registered_tables.c.schema == name.schema,
            registered_tables.c.name == name.table,
        )
        with transaction(self._engine) as connection:
            if not connection.execute(sa.delete(registered_tables).where(here)).rowcount:
                raise TableDoesNotExist(f"name: no table '{name}' is registered.")
