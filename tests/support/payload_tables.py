"""Payload tables with rows of our choice, in the layouts that the table writer gives them."""

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from penstock.inference_tables.legacy_payload import LEGACY_PAYLOAD
from penstock.inference_tables.payload import PAYLOAD

DAY = datetime.date(2026, 1, 2)


def logged(request: Any, predictions: Any, /, **more: Any) -> dict[str, Any]:
    """A row of a payload table: what was asked, what was answered, and whatever else is to be told."""
    day = more.pop("day", DAY)
    row = {
        "databricks_request_id": "r",
        "request_date": day,
        "request_time": datetime.datetime.combine(day, datetime.time(), datetime.UTC),
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
    schema, day = (LEGACY_PAYLOAD.schema, "date") if legacy else (PAYLOAD.schema, "request_date")
    folder.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(folder), pa.Table.from_pylist(rows, schema=schema), mode="append", partition_by=[day])
    return folder
