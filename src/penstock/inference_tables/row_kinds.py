"""Which kind of table the records of kind ROW are for, by the table's name.

A process that has something to tell writes rows with `SpoolWriter.add_row`; a module here says what columns they make.
A row for a table that nothing here matches is parked.
"""

import re

from penstock.domain.table_name import TableName
from penstock.inference_tables.feedback import FEEDBACK
from penstock.inference_tables.table_kind import TableKind
from penstock.inference_tables.usage import SERVED_ENTITIES

ROW_KINDS: tuple[tuple[re.Pattern[str], TableKind], ...] = (
    (re.compile(r"system\.serving\.served_entities"), SERVED_ENTITIES),
    (re.compile(r".+\..+\..*_feedback"), FEEDBACK),
)
"""Names of tables, whole, and their kinds; the first that matches counts."""


def row_kind(table: TableName) -> TableKind | None:
    """The kind of table that rows for it make; None if there is none."""
    return next((kind for pattern, kind in ROW_KINDS if pattern.fullmatch(str(table))), None)
