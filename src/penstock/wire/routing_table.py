"""The routing table as a file: what a gateway starts from while the control plane is away."""

import os
from pathlib import Path

import msgspec

from penstock.domain.routing import RoutingTable
from penstock.faults import fault_point


def save_table(path: Path, table: RoutingTable) -> None:
    """Write the table so that a reader sees the old one or the new one, whole."""
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(table))
        file.flush()
        os.fsync(file.fileno())
    fault_point("table-before-rename")
    temporary.replace(path)
    fault_point("table-after-rename")


def load_table(path: Path) -> RoutingTable | None:
    """The saved table; None if there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RoutingTable)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
