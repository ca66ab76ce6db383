"""What a catalog holds: Delta tables by their names, and views that unpack what was logged of predictions."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.table_name import TableName

PAYLOAD_SUFFIX = "_payload"
VIEW_SUFFIX = "_view"
LEFT_OUT_SUFFIX = "_left_out"
FEEDBACK_SUFFIX = "_feedback"
JOINED_SUFFIX = "_joined"
_OF_AN_ENDPOINT = tuple(
    f"_{kind}{copy}" for kind in ("payload", "view", "left_out", "feedback", "joined") for copy in ("", "_relabel")
)


class TableType(StrEnum):
    """Where a table comes from."""

    MANAGED = "MANAGED"
    """Found under the warehouse folder."""
    EXTERNAL = "EXTERNAL"
    """Registered by its path."""
    VIEW = "VIEW"
    """Made of a payload table when it is asked for."""


@dataclass(frozen=True, slots=True)
class Table:
    """A name, and what is behind it."""

    name: TableName
    kind: TableType
    path: str
    """Folder of the Delta table; of a view, that of the payload table."""
    feedback_path: str = ""
    """Of the view that joins it: folder of the feedback table."""


@dataclass(frozen=True, slots=True)
class RegisteredTable:
    """A table that lies outside of the warehouse folder."""

    name: TableName
    path: str
    creator: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class PayloadTable:
    """A table that an endpoint logs to, or did before that was turned off."""

    name: TableName
    endpoint: str
    """The endpoint's name."""


def payload_of(view: TableName) -> TableName | None:
    """The payload table that a view unpacks, going by its name; None if it is no name of a view."""
    for suffix in (VIEW_SUFFIX, LEFT_OUT_SUFFIX, JOINED_SUFFIX):
        if view.table.endswith(suffix):
            return TableName(view.catalog, view.schema, view.table.removesuffix(suffix) + PAYLOAD_SUFFIX)
    return None


def feedback_table(payload: TableName) -> TableName:
    """Where feedback to the predictions of a payload table goes."""
    return TableName(payload.catalog, payload.schema, payload.table.removesuffix(PAYLOAD_SUFFIX) + FEEDBACK_SUFFIX)


def views_of(table: Table, feedback: Table | None = None) -> list[Table]:
    """The views of a payload table, one more if there is feedback; none of a table of another name."""
    if not table.name.table.endswith(PAYLOAD_SUFFIX):
        return []
    stem = table.name.table.removesuffix(PAYLOAD_SUFFIX)

    def view(suffix: str, feedback_path: str = "") -> Table:
        name = TableName(table.name.catalog, table.name.schema, stem + suffix)
        return Table(name, TableType.VIEW, table.path, feedback_path)

    joined = [] if feedback is None else [view(JOINED_SUFFIX, feedback.path)]
    return [view(VIEW_SUFFIX), view(LEFT_OUT_SUFFIX), *joined]


def family_of(payload: TableName) -> frozenset[TableName]:
    """A payload table and all that is made of it: who may see one may see the others."""
    stem = payload.table.removesuffix(PAYLOAD_SUFFIX)
    return frozenset(TableName(payload.catalog, payload.schema, stem + suffix) for suffix in _OF_AN_ENDPOINT)


def joined(found: Iterable[Table], registered: Iterable[RegisteredTable]) -> list[Table]:
    """All tables and their views, by name; what is found comes before what was registered under the same name."""
    tables = {t.name: Table(t.name, TableType.EXTERNAL, t.path) for t in registered}
    tables |= {table.name: table for table in found}
    views = {
        view.name: view for table in tables.values() for view in views_of(table, tables.get(feedback_table(table.name)))
    }
    return sorted((views | tables).values(), key=lambda table: table.name)
