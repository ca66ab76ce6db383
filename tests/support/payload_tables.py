"""Payload tables with rows of our choice, in the layouts that the table writer gives them."""

import datetime
import json
from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from penstock.inference_tables.legacy_payload import LEGACY_PAYLOAD
from penstock.inference_tables.payload import PAYLOAD

DAY = datetime.date(2026, 1, 2)
_EPOCH = datetime.date(1970, 1, 1)


def logged(request: Any, predictions: Any, **more: Any) -> dict[str, Any]:
    """A row of a payload table: what was asked, what was answered, and whatever else is to be told."""
    day = more.pop("day", DAY)
    row = {
        "databricks_request_id": "r",
        "request_date": (day - _EPOCH).days,
        "request_time": (day - _EPOCH).days * 86_400_000_000,
        "status_code": 200,
        "sampling_fraction": 1.0,
        "execution_duration_ms": 3,
        "request": request if isinstance(request, str) else json.dumps(request),
        "response": json.dumps({"predictions": predictions}),
        "logging_error_codes": [],
        "served_entity_id": "e1",
        "requester": "admin",
    }
    return {**row, **more}


def write_payload(folder: Path, *rows: dict[str, Any], legacy: bool = False) -> Path:
    """Append rows to the table in a folder, in the newer or the older layout."""
    kind = LEGACY_PAYLOAD if legacy else PAYLOAD
    folder.mkdir(parents=True, exist_ok=True)
    columns = kind.columns([kind.row(row) for row in rows])
    write_deltalake(str(folder), columns, mode="append", partition_by=[kind.date] if kind.date else None)
    return folder
