"""Which rows can be asked together."""

import json
from collections.abc import Sequence
from typing import Any


def groups(endpoints: Sequence[str | None], params: Sequence[Any]) -> dict[tuple[str, str], list[int]]:
    """Rows by endpoint and parameters (as JSON); those without an endpoint (NULL) are in none."""
    found: dict[tuple[str, str], list[int]] = {}
    for row, (endpoint, shared) in enumerate(zip(endpoints, params, strict=True)):
        if endpoint is not None:
            found.setdefault((endpoint, json.dumps(shared or {})), []).append(row)
    return found
