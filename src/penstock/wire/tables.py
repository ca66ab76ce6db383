"""Tables of the catalog as our own routes write them."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from penstock.domain.catalog import Table
from penstock.domain.signature import Signature
from penstock.domain.table_name import parse_table_name

TABLES = "/api/2.0/penstock/tables"


def table_path(name: str) -> str:
    """The route of a table."""
    return f"{TABLES}/{quote(name, safe='')}"


def encode_table(table: Table) -> dict[str, Any]:
    """A table in a list."""
    document = {"name": str(table.name), "kind": table.kind, "path": table.path}
    return {**document, "feedback_path": table.feedback_path} if table.feedback_path else document


def decode_table(document: dict[str, Any]) -> Table:
    """What `encode_table` made."""
    return msgspec.convert({**document, "name": msgspec.to_builtins(parse_table_name(document["name"]))}, Table)


def encode_models(models: Mapping[str, Signature]) -> dict[str, Any]:
    """Signatures by what tells a model."""
    return {key: msgspec.to_builtins(signature) for key, signature in models.items()}


def decode_models(document: dict[str, Any]) -> dict[str, Signature]:
    """What `encode_models` made."""
    return msgspec.convert(document, dict[str, Signature])
