"""`/api/2.1/unity-catalog`: catalogs, schemas and tables for clients of Unity Catalog. Nothing is written."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from penstock.api.context import Caller, Context, Parts
from penstock.catalog.delta import describe
from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import (
    CatalogDoesNotExist,
    InvalidParameterValue,
    NotSupported,
    PenstockError,
    SchemaDoesNotExist,
    TableDoesNotExist,
)
from penstock.domain.table_name import DEFAULT_CATALOG, DEFAULT_SCHEMA, TableName
from penstock.wire.unity_catalog import (
    TableDetails,
    encode_catalog,
    encode_schema,
    encode_table_info,
    page,
)

router = APIRouter(prefix="/api/2.1/unity-catalog", tags=["unity catalog"])

MaxResults = Annotated[int | None, Query(ge=0)]
PageToken = Annotated[str | None, Query()]
_SCHEMA_PARTS, _TABLE_PARTS = 2, 3


@router.get("/catalogs")
async def list_catalogs(
    context: Context, caller: Caller, max_results: MaxResults = None, page_token: PageToken = None
) -> dict[str, Any]:
    """List the catalogs of the tables that the caller may see."""
    names, more = page(sorted(_schemas(context.catalog.visible(caller))), max_results, page_token)
    return {"catalogs": [encode_catalog(name) for name in names], **more}


@router.get("/catalogs/{name}")
async def get_catalog(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Get a catalog."""
    _schemas_of(_schemas(context.catalog.visible(caller)), name.lower())
    return encode_catalog(name.lower())


@router.get("/schemas")
async def list_schemas(
    context: Context,
    caller: Caller,
    catalog_name: str,
    max_results: MaxResults = None,
    page_token: PageToken = None,
) -> dict[str, Any]:
    """List the schemas of a catalog."""
    catalog = catalog_name.lower()
    found = _schemas_of(_schemas(context.catalog.visible(caller)), catalog)
    schemas, more = page(sorted(found), max_results, page_token)
    return {"schemas": [encode_schema(catalog, schema) for schema in schemas], **more}


@router.get("/schemas/{full_name}")
async def get_schema(context: Context, caller: Caller, full_name: str) -> dict[str, Any]:
    """Get a schema."""
    catalog, schema = _parts(full_name, _SCHEMA_PARTS, "catalog.schema")
    _check_schema(context.catalog.visible(caller), catalog, schema)
    return encode_schema(catalog, schema)


@router.get("/tables")
async def list_tables(
    context: Context,
    caller: Caller,
    catalog_name: str,
    schema_name: str,
    max_results: MaxResults = None,
    page_token: PageToken = None,
    *,
    omit_columns: bool = False,
) -> dict[str, Any]:
    """List the tables of a schema, with their columns."""
    catalog, schema = catalog_name.lower(), schema_name.lower()
    visible = context.catalog.visible(caller)
    _check_schema(visible, catalog, schema)
    tables = {
        table.name.table: table
        for table in visible
        if table.name.parts[:2] == (catalog, schema) and table.kind is not TableType.VIEW
    }
    names, more = page(sorted(tables), max_results, page_token)
    infos = await asyncio.to_thread(_infos, [tables[name] for name in names], omits_columns=omit_columns)
    return {"tables": infos, **more}


@router.get("/tables/{full_name}")
async def get_table(context: Context, caller: Caller, full_name: str) -> dict[str, Any]:
    """Get a table with its columns."""
    table = _table(context, caller, full_name)
    return encode_table_info(table, await asyncio.to_thread(_details, table))


@router.get("/tables/{full_name}/exists")
async def table_exists(context: Context, caller: Caller, full_name: str) -> dict[str, Any]:
    """Whether there is a table; where its catalog or schema is missing, that is told."""
    try:
        _table(context, caller, full_name)
    except TableDoesNotExist:
        return {"table_exists": False}
    return {"table_exists": True}


@router.post("/catalogs")
@router.patch("/catalogs/{name}")
@router.delete("/catalogs/{name}")
async def write_catalogs() -> None:
    """Changes of catalogs: not to be had here."""
    raise NotSupported(f"Catalogs are not created, changed or deleted {_HERE}")


@router.post("/schemas")
@router.patch("/schemas/{full_name}")
@router.delete("/schemas/{full_name}")
async def write_schemas() -> None:
    """Changes of schemas: not to be had here."""
    raise NotSupported(f"Schemas are not created, changed or deleted {_HERE}")


@router.post("/tables")
@router.patch("/tables/{full_name}")
@router.delete("/tables/{full_name}")
async def write_tables() -> None:
    """Changes of tables: not to be had here."""
    raise NotSupported(f"Tables are not created, changed or deleted {_HERE}")


_HERE = (
    "over this API: they are what the folders below 'warehouse' say. 'penstock tables register' gives a name to a "
    "Delta table that lies elsewhere."
)


def _schemas(visible: Sequence[Table]) -> dict[str, set[str]]:
    """The schemas of these tables by catalog; the default ones always."""
    found = {DEFAULT_CATALOG: {DEFAULT_SCHEMA}}
    for table in visible:
        found.setdefault(table.name.catalog, set()).add(table.name.schema)
    return found


def _schemas_of(schemas: dict[str, set[str]], catalog: str) -> set[str]:
    if catalog not in schemas:
        raise CatalogDoesNotExist(f"Catalog '{catalog}' does not exist.")
    return schemas[catalog]


def _check_schema(visible: Sequence[Table], catalog: str, schema: str) -> None:
    if schema not in _schemas_of(_schemas(visible), catalog):
        raise SchemaDoesNotExist(f"Schema '{catalog}.{schema}' does not exist.")


def _table(context: Parts, caller: str, full_name: str) -> Table:
    name = TableName(*_parts(full_name, _TABLE_PARTS, "catalog.schema.table"))
    visible = context.catalog.visible(caller)
    _check_schema(visible, name.catalog, name.schema)
    for table in visible:
        if table.name == name and table.kind is not TableType.VIEW:
            return table
    raise TableDoesNotExist(f"Table '{name}' does not exist.")


def _parts(full_name: str, count: int, form: str) -> list[str]:
    parts = [part.strip("`").lower() for part in full_name.split(".")]
    if len(parts) != count or not all(parts):
        raise InvalidParameterValue(f"full_name: got '{full_name}'; wanted {form}.")
    return parts


def _infos(tables: list[Table], *, omits_columns: bool) -> list[dict[str, Any]]:
    found = []
    for table in tables:
        try:
            details = _details(table)
        except PenstockError:  # one table that cannot be read does not hide the others
            details = None
        found.append(encode_table_info(table, details, omits_columns=omits_columns))
    return found


def _details(table: Table) -> TableDetails:
    described = describe(str(table.name), table.path)
    return TableDetails(described.columns, described.partition_columns, described.properties, described.created_at_ms)
