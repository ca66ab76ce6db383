"""Types of a signature, as MLflow writes them: the Arrow type of a column, and how JSON values become its values.

A value that JSON writes otherwise than the type is read as MLflow's scorer reads it before the model sees it: a double
for a long loses its fraction, base64 is bytes, a time with an offset is UTC. Null is null in every type.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from penstock.domain.signature import Field

Read = Callable[[Any], Any]
_INT_BITS = {"integer": 32, "long": 64}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of one column."""

    arrow: pa.DataType
    read: Read
    """From a JSON value to one that Arrow takes; ValueError or TypeError if it is not of the type."""
    is_list: bool = False


def column_type(field: Field) -> ColumnType:
    """The type of a column, tensor or property of a signature; what is unknown is kept as JSON text."""
    kind = field.get("type", "any")
    match kind:
        case "tensor":
            return _tensor(field.get("tensor-spec") or {})
        case "array":
            return _list(column_type(field.get("items") or {}))
        case "object":
            return _struct(field.get("properties") or {})
        case "map":
            return _map(column_type(field.get("values") or {}))
        case _:
            return _SCALARS.get(kind, JSON_TEXT)


def widest(first: ColumnType, second: ColumnType) -> ColumnType:
    """A type that holds the values of both: numbers become the wider number, all else that differs JSON text."""
    if first.arrow == second.arrow:
        return first
    order = [_SCALARS[name].arrow for name in ("integer", "long", "double")]
    as_double = {pa.float32(): pa.float64()}
    kinds = [as_double.get(kind.arrow, kind.arrow) for kind in (first, second)]
    if all(kind in order for kind in kinds):
        return max((first, second), key=lambda kind: order.index(as_double.get(kind.arrow, kind.arrow)))
    return JSON_TEXT


def _nullable(read: Read) -> Read:
    return lambda value: None if value is None else read(value)


def _integer(bits: int, *, is_signed: bool = True) -> Read:
    low = -(1 << (bits - 1)) if is_signed else 0
    high = low + (1 << bits) - 1

    def read(value: Any) -> int:
        number = value if type(value) is int else _whole(value)
        if not low <= number <= high:
            raise ValueError(f"got {number}; wanted {low} to {high}")
        return number

    return read


def _whole(value: Any) -> int:
    if isinstance(value, int | float | str):
        return int(value)
    raise TypeError(f"got {_shown(value)}; wanted a whole number")


def _number(value: Any) -> float:
    if isinstance(value, int | float | str):
        return float(value)
    raise TypeError(f"got {_shown(value)}; wanted a number")


def _boolean(value: Any) -> bool:
    if value in (True, False):
        return bool(value)
    raise TypeError(f"got {_shown(value)}; wanted true or false")


def _string(value: Any) -> str:
    text = value if isinstance(value, str) else _json_text(value)
    text.encode()  # lone surrogates, which JSON can write, are no text
    return text


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _binary(value: Any) -> bytes:
    if isinstance(value, str):
        return base64.b64decode(value)
    raise TypeError(f"got {_shown(value)}; wanted base64")


def _datetime(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"got {_shown(value)}; wanted a time in ISO 8601")
    if isinstance(value, int):  # nanoseconds, as pandas takes a bare number
        return datetime(1970, 1, 1) + timedelta(microseconds=value // 1000)  # noqa: DTZ001 - the type has no zone
    time = datetime.fromisoformat(value)
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"  # noqa: PLR2004 - a message


_SCALARS = {
    "boolean": ColumnType(pa.bool_(), _nullable(_boolean)),
    "integer": ColumnType(pa.int32(), _nullable(_integer(_INT_BITS["integer"]))),
    "long": ColumnType(pa.int64(), _nullable(_integer(_INT_BITS["long"]))),
    "float": ColumnType(pa.float32(), _nullable(_number)),
    "double": ColumnType(pa.float64(), _nullable(_number)),
    "string": ColumnType(pa.string(), _nullable(_string)),
    "binary": ColumnType(pa.binary(), _nullable(_binary)),
    "datetime": ColumnType(pa.timestamp("us"), _nullable(_datetime)),
}
JSON_TEXT = ColumnType(pa.string(), _nullable(_string))
"""A string as it is, anything else as JSON."""


def _list(item: ColumnType) -> ColumnType:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError(f"got {_shown(value)}; wanted a list")
        return [item.read(each) for each in value]

    return ColumnType(pa.list_(item.arrow), _nullable(read), is_list=True)


def _struct(properties: dict[str, Field]) -> ColumnType:
    if not properties:
        return JSON_TEXT
    types = {name: column_type(field) for name, field in properties.items()}

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError(f"got {_shown(value)}; wanted an object")
        return {name: kind.read(value.get(name)) for name, kind in types.items()}

    return ColumnType(pa.struct([(name, kind.arrow) for name, kind in types.items()]), _nullable(read))


def _map(values: ColumnType) -> ColumnType:
    def read(value: Any) -> list[tuple[str, Any]]:
        if not isinstance(value, dict):
            raise TypeError(f"got {_shown(value)}; wanted an object")
        return [(_string(key), values.read(each)) for key, each in value.items()]

    return ColumnType(pa.map_(pa.string(), values.arrow), _nullable(read))


def _tensor(spec: Field) -> ColumnType:
    """One row of a tensor: a list for each dimension after the first."""
    kind = _DTYPES.get(str(spec.get("dtype")), JSON_TEXT)
    for _ in list(spec.get("shape") or [])[1:]:
        kind = _list(kind)
    return kind


_DTYPES = {
    "bool": _SCALARS["boolean"],
    "str": _SCALARS["string"],
    "float16": _SCALARS["float"],
    "float32": _SCALARS["float"],
    "float64": _SCALARS["double"],
    "datetime64[ns]": _SCALARS["datetime"],
    **{
        f"{'' if is_signed else 'u'}int{bits}": ColumnType(
            getattr(pa, f"{'' if is_signed else 'u'}int{bits}")(), _nullable(_integer(bits, is_signed=is_signed))
        )
        for bits in (8, 16, 32, 64)
        for is_signed in (True, False)
    },
}


def decode(text: str) -> Any:
    """JSON, and beside it the bare tokens NaN and Infinity, which MLflow takes and writes.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        try:
            return json.loads(text)
        except RecursionError:
            raise ValueError("nested too deep") from None
