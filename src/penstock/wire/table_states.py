"""How the inference tables stand, as a file: the table writer tells it, others read it, also when it does not run."""

from pathlib import Path

import msgspec

from penstock.domain.inference_log import TableStatus
from penstock.wire.whole_file import write_whole


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
    """Write them where `load_states` finds them.

    Raises:
        OSError: they cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, msgspec.json.encode(states))


def load_states(path: Path) -> TableStates:
    """The saved states; none if there are none that can be read."""
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
