"""Which kind of table the records of kind ROW are for, by the table's name.

A process that has something to tell writes rows with `SpoolWriter.add_row`; a module here says what columns they make.
A row for a table that nothing here matches is parked.
"""

import re

import msgspec

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName, parse_table_name
from penstock.inference_tables.audit import AUDIT
from penstock.inference_tables.feedback import FEEDBACK
from penstock.inference_tables.legacy_payload import LEGACY_PAYLOAD
from penstock.inference_tables.payload import PAYLOAD
from penstock.inference_tables.table_kind import BadRow, Row, TableKind
from penstock.inference_tables.usage import ENDPOINT_USAGE, SERVED_ENTITIES
from penstock.wire import audit, served_entity_row

ROW_KINDS: tuple[tuple[re.Pattern[str], TableKind], ...] = (
    (re.compile(re.escape(served_entity_row.TABLE)), SERVED_ENTITIES),
    (re.compile(re.escape(audit.TABLE)), AUDIT),
    (re.compile(r".+\..+\..*_feedback"), FEEDBACK),
)
"""Names of tables, whole, and their kinds; the first that matches counts."""


def decode_row(table: str, row: bytes) -> tuple[str, TableKind, Row]:
    """The table, its kind and the row that a record of kind ROW tells.

    Raises:
        BadRow: there is no such table, or the row is no object.
        MsgspecError, UnicodeDecodeError: it is no JSON.
    """
    try:
        name = parse_table_name(table)
    except InvalidParameterValue as exc:
        raise BadRow(str(exc)) from exc
    kind = row_kind(name)
    if kind is None:
        raise BadRow(f"{table}: no rows are known for such a table")
    values = msgspec.json.decode(row)
    if not isinstance(values, dict):
        raise BadRow(f"{table}: got a {type(values).__name__}; wanted an object")
    return str(name), kind, kind.row(values)


def row_kind(table: TableName) -> TableKind | None:
    """The kind of table that rows for it make; None if there is none."""
    return next((kind for pattern, kind in ROW_KINDS if pattern.fullmatch(str(table))), None)


_BY_NAME = {kind.name: kind for kind in (PAYLOAD, LEGACY_PAYLOAD, ENDPOINT_USAGE, *(kind for _, kind in ROW_KINDS))}


def kind_of_name(name: str) -> TableKind:
    """The kind of that name.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]
