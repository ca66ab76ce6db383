"""Values of SQL as JSON, in MLflow's dialect: NaN and the infinities are bare, bytes are base64."""

import base64
import json
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID


def encoded(value: Any) -> bytes:
    """A value as JSON; what JSON has no words for becomes the nearest that it has."""
    return json.dumps(value, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return float(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case UUID():
            return str(value)
        case _ if hasattr(value, "tolist"):  # NumPy's
            return value.tolist()
        case _:
            return str(value)
