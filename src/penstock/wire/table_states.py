"""How the inference tables stand, as a file: the table writer tells it, others read it, also when it does not run."""

import os
from pathlib import Path

import msgspec

from penstock.domain.inference_log import TableStatus


class TableState(msgspec.Struct, frozen=True):
    """One table."""

    status: TableStatus
    message: str = ""
    """Why it does not take rows."""
    table_id: str = ""
    """Delta's id of the table that was written last."""
    gone_since_s: float | None = None
    """Since when it has not been where it was."""
    rows: int = 0
    """Rows that were committed."""
    refused_rows: int = 0
    """Rows that no table takes, kept for people to look at."""


TableStates = dict[str, TableState]
"""By `catalog.schema.table`."""

_decoder = msgspec.json.Decoder(TableStates)


def save_states(path: Path, states: TableStates) -> None:
    """Write them so that a reader sees the old ones or the new ones, whole.

    Raises:
        OSError: they cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(states))
    temporary.replace(path)


def load_states(path: Path) -> TableStates:
    """The saved states; none if there are none that can be read."""
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
