"""Which rows can be asked together."""

from collections.abc import Sequence
from typing import Any

from penstock.sql.encoding import encoded


def groups(endpoints: Sequence[str | None], params: Sequence[Any]) -> dict[tuple[str, bytes], list[int]]:
    """Rows by endpoint and parameters (as JSON); those without an endpoint (NULL) are in none."""
    found: dict[tuple[str, bytes], list[int]] = {}
    for row, (endpoint, shared) in enumerate(zip(endpoints, params, strict=True)):
        if endpoint is not None:
            found.setdefault((endpoint, encoded(shared or {})), []).append(row)
    return found
