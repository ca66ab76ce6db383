"""The views of a payload table: `<prefix>_view`, a row for each input row, and `<prefix>_left_out`, what is not in it.

    CREATE VIEW x_view AS SELECT …, unnest(rows(model, request, response)) FROM x_payload WHERE status_code = 200

`rows` is Python, called with a few thousand requests at a time. Conditions on the other columns are pushed beneath it
by DuckDB, down to the files of the table, so that a day costs a day.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType
from duckdb.sqltypes import INTEGER, VARCHAR

from penstock.catalog.column_types import ColumnType, column_type, widest
from penstock.catalog.engine import quoted, scan
from penstock.catalog.unpacking import WHOLE, LeftOut, ModelColumn, ModelColumns, unpack
from penstock.domain.catalog import LEFT_OUT_SUFFIX, VIEW_SUFFIX
from penstock.domain.signature import Field, Signature

_MODEL_KEYS = {
    "served_entity_id": "served_entity_id",
    "request_metadata": "request_metadata['model_name'] || '/' || request_metadata['model_version']",
}
"""How a row of either layout of payload tables tells its model, by the column that it takes."""
_REPEATED = (
    *("databricks_request_id", "client_request_id", "request_date", "date", "request_time", "timestamp_ms"),
    *("served_entity_id", "request_metadata", "requester"),
)
"""Columns of a payload table that stand in every row that is made of it."""
_OF_LEFT_OUT = ("databricks_request_id", "request_date", "date", "request_time", "timestamp_ms", "status_code")
POSITION = "position"
_OK = 200
_numbers = count()


class Slot(NamedTuple):
    """What one or several models have under one name."""

    is_output: bool
    name: str


@dataclass(frozen=True, slots=True)
class Filling:
    """How a model's rows fill the columns of a view."""

    columns: ModelColumns
    names: tuple[str, ...]
    """Of the view's columns, for the model's inputs and then its outputs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a view, and how each model fills them."""

    struct: pa.StructType
    models: dict[str, Filling]
    any_model: Filling | None
    """For rows whose model is not known: only if there is no doubt how they are to be read."""

    def rows(self, model: str | None, request: str | None, response: str | None) -> list[dict[str, Any]]:
        """The rows of a request.

        Raises:
            LeftOut: there are none to be had.
        """
        filling = self.models.get(model or "", self.any_model)
        if filling is None:
            raise LeftOut("model: not known any more")
        unpacked = unpack(request, response, filling.columns)
        return [
            {POSITION: at, **dict(zip(filling.names, (*inputs, *outputs), strict=True))}
            for at, (inputs, outputs) in enumerate(unpacked)
        ]

    def reason(
        self, model: str | None, status_code: int | None, request: str | None, response: str | None
    ) -> str | None:
        """Why a request gives no rows; None if it does."""
        if status_code != _OK:
            return f"status: {status_code}"
        try:
            self.rows(model, request, response)
        except LeftOut as exc:
            return str(exc)
        return None


def layout_of(signatures: Mapping[str, Signature], taken: Iterable[str]) -> Layout:
    """The layout for models of these signatures; without any, rows and predictions are kept as JSON.

    Columns are those of all models, the newest first. Where types differ, the wider one counts. A name that is taken
    already, whatever its case, gets `_2`, `_3` at its end: SQL knows no case.
    """
    models = {key: _columns_of(signature) for key, signature in signatures.items()}
    models = models or {"": ModelColumns((WHOLE,), (WHOLE,))}
    types: dict[Slot, ColumnType] = {}
    for columns in models.values():
        for slot, column in _slots(columns):
            types[slot] = widest(types[slot], column.type) if slot in types else column.type
    names = _distinct(types, {POSITION, *(name.lower() for name in taken)})
    fillings = {key: _filling(columns, types, names) for key, columns in models.items()}
    struct = pa.struct([(POSITION, pa.int64()), *((names[slot], kind.arrow) for slot, kind in types.items())])
    orders = {filling.names for filling in fillings.values()}
    return Layout(struct, fillings, next(iter(fillings.values())) if len(orders) == 1 else None)


def _columns_of(signature: Signature) -> ModelColumns:
    def read(fields: list[Field]) -> tuple[ModelColumn, ...]:
        return tuple(ModelColumn(field.get("name"), column_type(field)) for field in fields) or (WHOLE,)

    return ModelColumns(read(signature.inputs), read(signature.outputs))


def _slots(columns: ModelColumns) -> list[tuple[Slot, ModelColumn]]:
    found = []
    for is_output, default, own in ((False, "input", columns.inputs), (True, "prediction", columns.outputs)):
        for at, column in enumerate(own):
            name = column.name or (default if len(own) == 1 else f"{default}_{at}")
            found.append((Slot(is_output, name), column))
    return found


def _filling(columns: ModelColumns, types: Mapping[Slot, ColumnType], names: Mapping[Slot, str]) -> Filling:
    slots = _slots(columns)
    read = [column if column == WHOLE else ModelColumn(column.name, types[slot]) for slot, column in slots]
    split = len(columns.inputs)
    return Filling(ModelColumns(tuple(read[:split]), tuple(read[split:])), tuple(names[slot] for slot, _ in slots))


def _distinct(slots: Iterable[Slot], taken: set[str]) -> dict[Slot, str]:
    found = {}
    for slot in slots:
        own = slot.name.startswith("prediction") or not slot.is_output
        label = slot.name if own else f"prediction_{slot.name}"
        free = next(name for name in (label, *_numbered(label, taken)) if name.lower() not in taken)
        taken.add(free.lower())
        found[slot] = free
    return found


def _numbered(label: str, taken: set[str]) -> list[str]:
    return [f"{label}_{number}" for number in range(2, len(taken) + 3)]


def create_views(
    connection: duckdb.DuckDBPyConnection, stem: Callable[[str], str], path: str, signatures: Mapping[str, Signature]
) -> None:
    """Make the two views of a payload table known to a connection.

    Args:
        connection: where they are to be known.
        stem: the full name in SQL of what has this suffix in place of the payload table's.
        path: folder of the payload table.
        signatures: of the models that it tells of, the newest first.
    """
    columns = connection.execute(f"SELECT * FROM {scan(path)} LIMIT 0").to_arrow_table().schema.names
    repeated = [name for name in _REPEATED if name in columns]
    layout = layout_of(signatures, repeated)
    rows, reason = _create_functions(connection, layout)
    model = next((key for column, key in _MODEL_KEYS.items() if column in columns), "NULL")
    own = ", ".join(quoted(name) for name in repeated)
    unpacked = ", ".join(f"r.{quoted(field.name)} AS {quoted(field.name)}" for field in layout.struct)
    connection.execute(
        f"CREATE OR REPLACE VIEW {stem(VIEW_SUFFIX)} AS SELECT {own}, {unpacked} FROM ("
        f"SELECT {own}, unnest({rows}({model}, request, response)) AS r FROM {scan(path)} WHERE status_code = {_OK})"
    )
    told = ", ".join(quoted(name) for name in _OF_LEFT_OUT if name in columns)
    connection.execute(
        f"CREATE OR REPLACE VIEW {stem(LEFT_OUT_SUFFIX)} AS SELECT * FROM ("
        f"SELECT {told}, {reason}({model}, status_code, request, response) AS reason FROM {scan(path)}) "
        "WHERE reason IS NOT NULL"
    )


def _create_functions(connection: duckdb.DuckDBPyConnection, layout: Layout) -> tuple[str, str]:
    """Names of two functions in SQL: the rows of a request, and why it has none."""
    rows_type = pa.list_(layout.struct)

    def rows(models: pa.Array, requests: pa.Array, responses: pa.Array) -> pa.Array:
        return pa.array(map(rows_or_none, *_values(models, requests, responses)), rows_type)

    def rows_or_none(model: str | None, request: str | None, response: str | None) -> list[dict[str, Any]] | None:
        try:
            return layout.rows(model, request, response)
        except LeftOut:
            return None

    def reason(models: pa.Array, statuses: pa.Array, requests: pa.Array, responses: pa.Array) -> pa.Array:
        return pa.array(map(layout.reason, *_values(models, statuses, requests, responses)), pa.string())

    number = next(_numbers)
    names = f"penstock_rows_{number}", f"penstock_reason_{number}"
    rows_in_sql = connection.from_arrow(pa.schema([("rows", rows_type)]).empty_table()).types[0]
    connection.create_function(
        names[0], rows, [VARCHAR] * 3, rows_in_sql, type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL
    )
    connection.create_function(
        names[1],
        reason,
        [VARCHAR, INTEGER, VARCHAR, VARCHAR],
        VARCHAR,
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )
    return names


def _values(*columns: pa.Array) -> list[list[Any]]:
    return [column.to_pylist() for column in columns]
