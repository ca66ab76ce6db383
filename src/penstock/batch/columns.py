"""The rows of a target: a chunk's own columns, what the model made of them, and where that comes from."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from penstock.batch.model_source import ModelIdentity
from penstock.batch.plan import MODEL_NAME, MODEL_VERSION, PROBABILITIES, PROVENANCE, RUN_ID, SCORED_AT, Plan
from penstock.domain.errors import InvalidParameterValue

_INSTANT = pa.timestamp("us", "UTC")
_PROVENANCE_TYPES = dict.fromkeys(PROVENANCE, pa.string()) | {SCORED_AT: _INSTANT}
_REFUSED = (pa.types.is_time, pa.types.is_duration, pa.types.is_interval, pa.types.is_union)

ERROR_SCHEMA = pa.schema(
    [
        ("row", pa.string()),
        ("source", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        *((name, _PROVENANCE_TYPES[name]) for name in (MODEL_NAME, MODEL_VERSION, RUN_ID)),
        ("failed_at", _INSTANT),
    ]
)
"""Columns of an error table: the row as JSON, its file, its number there from 0, why it has no prediction."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where predictions come from."""

    model: ModelIdentity
    run_id: str

    def columns(self, rows: int, now: datetime) -> list[pa.Array]:
        """One column each; strings are stored once, and told for each row by a number that is always 0."""
        texts = (self.model.name, self.model.version, self.run_id)
        return [*(_constant(text, rows) for text in texts), _instants(rows, now)]


def output_schema(plan: Plan, source: pa.Schema, predicted: list[pa.DataType]) -> pa.Schema:
    """The columns of a target, as both Delta and Parquet keep them.

    Raises:
        InvalidParameterValue: a column is of a type that cannot be kept.
    """
    names = (plan.prediction_column, *((PROBABILITIES,) if plan.has_probabilities else ()))
    kept = [pa.field(field.name, stored_type(field.name, field.type)) for field in source]
    made = [pa.field(name, stored_type(name, kind)) for name, kind in zip(names, predicted, strict=True)]
    return pa.schema([*kept, *made, *(pa.field(name, _PROVENANCE_TYPES[name]) for name in PROVENANCE)])


def stored_type(name: str, kind: pa.DataType) -> pa.DataType:
    """What a column is stored as; Delta has fewer types than Arrow.

    Raises:
        InvalidParameterValue: there is nothing like it.
    """
    if any(is_refused(kind) for is_refused in _REFUSED):
        raise InvalidParameterValue(f"column {name}: type {kind} cannot be kept in a table.")
    match kind:
        case _ if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            return stored_type(name, kind.value_type)
        case _ if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return pa.string()
        case _ if (
            pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind)
        ):
            return pa.binary()
        case _ if pa.types.is_unsigned_integer(kind):
            return {8: pa.int16(), 16: pa.int32()}.get(kind.bit_width, pa.int64())
        case _ if pa.types.is_float16(kind):
            return pa.float32()
        case _ if pa.types.is_timestamp(kind):
            return _INSTANT if kind.tz else pa.timestamp("us")
        case _ if pa.types.is_date(kind):
            return pa.date32()
        case _ if pa.types.is_map(kind):
            return pa.map_(stored_type(name, kind.key_type), stored_type(name, kind.item_type))
        case _ if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return pa.list_(pa.field("element", stored_type(name, kind.value_type)))
        case _ if pa.types.is_struct(kind):
            return pa.struct([pa.field(part.name, stored_type(f"{name}.{part.name}", part.type)) for part in kind])
        case _:
            return kind


def stored(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """A column as it is stored; times lose what is finer than a microsecond.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit.
    """
    if column.type == kind:
        return column
    if pa.types.is_timestamp(kind):
        return pc.cast(column, kind, safe=False)
    return pc.cast(column, kind)


def output_table(table: pa.Table, predicted: list[pa.Array], made: list[pa.Array], schema: pa.Schema) -> pa.Table:
    """Rows of a target: those of a chunk that were scored, what was predicted, and where it comes from.

    Raises:
        pyarrow.ArrowException: a value does not fit the columns that the first chunk gave the target.
    """
    own = [*table.columns, *predicted]
    columns = [stored(column, field.type) for column, field in zip(own, schema, strict=False)]
    return pa.table([*columns, *made], names=schema.names)


def with_all_keys(table: pa.Table, keys: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which rows have all of their keys."""
    has = np.ones(table.num_rows, bool)
    for key in keys:
        column = table.column(key)
        if column.null_count:
            has &= pc.is_valid(column).to_numpy()
    return has


def last_of_each(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """Of rows with the same keys the last one, in the order of the table."""
    marked = table.select(list(keys)).append_column("_at", pa.array(np.arange(table.num_rows)))
    last = marked.group_by(list(keys), use_threads=False).aggregate([("_at", "max")]).column("_at_max")
    if len(last) == table.num_rows:
        return table
    return table.take(last.sort())


def _constant(text: str | None, rows: int) -> pa.Array:
    if text is None:
        return pa.nulls(rows, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([text]))


def _instants(rows: int, now: datetime) -> pa.Array:
    return pa.repeat(pa.scalar(now, _INSTANT), rows)
