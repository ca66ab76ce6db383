"""Catalogs, schemas and tables as Unity Catalog's public REST API writes them, and its pages."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import InvalidParameterValue

Json = dict[str, Any]

_NAMES = {
    "boolean": ("BOOLEAN", "boolean"),
    "byte": ("BYTE", "tinyint"),
    "short": ("SHORT", "smallint"),
    "integer": ("INT", "int"),
    "long": ("LONG", "bigint"),
    "float": ("FLOAT", "float"),
    "double": ("DOUBLE", "double"),
    "string": ("STRING", "string"),
    "binary": ("BINARY", "binary"),
    "date": ("DATE", "date"),
    "timestamp": ("TIMESTAMP", "timestamp"),
    "timestamp_ntz": ("TIMESTAMP_NTZ", "timestamp_ntz"),
    "variant": ("VARIANT", "variant"),
    "void": ("NULL", "void"),
}
"""Delta's words for types: `type_name`, and how SQL writes them."""
_DECIMAL = "decimal("
DEFAULT_PAGE, MAX_PAGE = 100, 1000
OWNER = "penstock"


@dataclass(frozen=True, slots=True)
class TableDetails:
    """What a table's log says, as far as Unity Catalog tells it."""

    columns: Sequence[Json] = ()
    """In the form of Delta's log: `name`, `type`, `nullable`, `metadata`."""
    partition_columns: Sequence[str] = ()
    properties: Json | None = None
    created_at_ms: int | None = None


def encode_catalog(name: str) -> Json:
    """`CatalogInfo`."""
    kind = "SYSTEM_CATALOG" if name == "system" else "MANAGED_CATALOG"
    return {"name": name, "full_name": name, "owner": OWNER, "catalog_type": kind, "securable_type": "CATALOG"}


def encode_schema(catalog: str, name: str) -> Json:
    """`SchemaInfo`."""
    return {
        "name": name,
        "catalog_name": catalog,
        "full_name": f"{catalog}.{name}",
        "owner": OWNER,
        "catalog_type": "SYSTEM_CATALOG" if catalog == "system" else "MANAGED_CATALOG",
    }


def encode_table_info(table: Table, details: TableDetails | None, *, omits_columns: bool = False) -> Json:
    """`TableInfo`; without what its log says if that cannot be read."""
    found: Json = {
        "name": table.name.table,
        "catalog_name": table.name.catalog,
        "schema_name": table.name.schema,
        "full_name": str(table.name),
        "table_type": table.kind.value,
        "owner": OWNER,
    }
    if table.kind is not TableType.VIEW:
        found |= {"data_source_format": "DELTA", "storage_location": f"file://{table.path}"}
    if details is None:
        return found
    if details.created_at_ms is not None:
        found["created_at"] = details.created_at_ms
    found["properties"] = details.properties or {}
    if not omits_columns:
        found["columns"] = [_column(at, field, details.partition_columns) for at, field in enumerate(details.columns)]
    return found


def page(items: Sequence[str], max_results: int | None, page_token: str | None) -> tuple[Sequence[str], Json]:
    """A page of names in order, and the field that tells of the next one.

    Raises:
        InvalidParameterValue: a size or a token that cannot be.
    """
    size = max_results or DEFAULT_PAGE
    if not 0 < size <= MAX_PAGE:
        raise InvalidParameterValue(f"max_results: got {max_results}; wanted 0 to {MAX_PAGE}.")
    after = _after(page_token) if page_token else ""
    rest = [item for item in items if item > after]
    shown = rest[:size]
    if len(rest) == len(shown):
        return shown, {}
    return shown, {"next_page_token": base64.urlsafe_b64encode(shown[-1].encode()).decode()}


def _after(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidParameterValue(f"page_token: got '{token[:40]}', which no answer of ours held.") from None


def _column(position: int, field: Json, partition_columns: Sequence[str]) -> Json:
    kind = field["type"]
    name = _type_name(kind)
    column = {
        "name": field["name"],
        "position": position,
        "nullable": field["nullable"],
        "type_name": name,
        "type_text": _type_text(kind),
        "type_json": json.dumps(field),
    }
    if name == "DECIMAL":
        precision, scale = str(kind)[len(_DECIMAL) : -1].split(",")
        column |= {"type_precision": int(precision), "type_scale": int(scale)}
    if field["name"] in partition_columns:
        column["partition_index"] = partition_columns.index(field["name"])
    return column


def _type_name(kind: str | Json) -> str:
    if isinstance(kind, dict):
        return str(kind["type"]).upper()
    if kind.startswith(_DECIMAL):
        return "DECIMAL"
    return _NAMES.get(kind, ("USER_DEFINED_TYPE", ""))[0]


def _type_text(kind: str | Json) -> str:
    match kind:
        case {"type": "array", "elementType": item}:
            return f"array<{_type_text(item)}>"
        case {"type": "map", "keyType": key, "valueType": value}:
            return f"map<{_type_text(key)},{_type_text(value)}>"
        case {"type": "struct", "fields": list(fields)}:
            inner = (f"{field['name']}:{_type_text(field['type'])}" for field in fields)
            return f"struct<{','.join(inner)}>"
        case _:
            return _NAMES.get(str(kind), ("", str(kind)))[1]
