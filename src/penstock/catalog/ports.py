"""Where a catalog's tables are told: by the home folder itself, or by a running stack."""

from typing import Protocol

from penstock.domain.catalog import PayloadTable, Table
from penstock.domain.signature import Signature
from penstock.domain.table_name import TableName


class Source(Protocol):
    """Knows which tables there are."""

    def tables(self) -> list[Table]:
        """All tables and views that may be seen, by name."""
        ...

    def models(self, payload: TableName) -> dict[str, Signature]:
        """The signatures of models that a payload table tells of; none of a table that no endpoint logs to."""
        ...


class LocalSource(Source, Protocol):
    """Knows also to whom tables belong."""

    def payload_tables(self) -> list[PayloadTable]:
        """The tables that endpoints log to, or did."""
        ...
