"""`/api/2.0/penstock/tables`: names of Delta tables and where they lie. Their rows are read there, not here."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import StrictStr

from penstock.api.bodies import body_of_type, documented
from penstock.api.context import Caller, Context
from penstock.wire.body import In
from penstock.wire.tables import encode_models, encode_table

router = APIRouter(prefix="/api/2.0/penstock/tables", tags=["tables"])


class RegisterTable(In):
    """Body of a registration: a name, and the folder of a Delta table."""

    name: StrictStr
    path: StrictStr


@router.get("")
async def list_tables(context: Context, caller: Caller) -> dict[str, Any]:
    """List the tables and views that the caller may see."""
    return {"tables": [encode_table(table) for table in context.catalog.visible(caller)]}


@router.post("", openapi_extra=documented(RegisterTable))
async def register_table(
    context: Context, caller: Caller, body: Annotated[RegisterTable, Depends(body_of_type(RegisterTable))]
) -> dict[str, Any]:
    """Give a Delta table that lies outside of the warehouse folder a name."""
    return encode_table(context.catalog.register(body.name, body.path, caller))


@router.get("/{name}")
async def get_table(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Where a table lies; of one that an endpoint logs to, also the signatures of the models that it tells of."""
    table = context.catalog.get(name, caller)
    return {**encode_table(table), "models": encode_models(context.catalog.models(table.name))}


@router.delete("/{name}")
async def unregister_table(context: Context, caller: Caller, name: str) -> dict[str, Any]:
    """Take the name from a registered table; the Delta table stays as it is."""
    context.catalog.unregister(name, caller)
    return {}
