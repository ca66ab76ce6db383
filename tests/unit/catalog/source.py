"""A source of tables made of plain data."""

from dataclasses import dataclass, field

from penstock.domain.catalog import RegisteredTable, Table, joined
from penstock.domain.signature import Signature
from penstock.domain.table_name import TableName, parse_table_name


@dataclass
class FixedSource:
    """Tables by name and path, signatures for all payload tables."""

    paths: dict[str, str]
    signatures: dict[str, Signature] = field(default_factory=dict)

    def tables(self) -> list[Table]:
        return joined([], [RegisteredTable(parse_table_name(n), p, "admin", 0) for n, p in self.paths.items()])

    def models(self, payload: TableName) -> dict[str, Signature]:
        return self.signatures
