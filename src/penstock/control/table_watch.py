"""How the inference tables of endpoints stand, as the table writer tells it in a file, and what happened to them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.domain.endpoint import Endpoint
from penstock.domain.events import Event, EventKind
from penstock.domain.inference_log import InferenceLog, TableStatus
from penstock.wire.table_states import TableState, TableStates, load_states

_LOOK_EVERY_S = 1.0


class TableWatch:
    """Looks into that file now and then."""

    def __init__(
        self,
        file: Path,
        endpoints: Callable[[], list[Endpoint]],
        log_of: Callable[[Endpoint], InferenceLog],
        record: Callable[[Sequence[tuple[str, Event]]], None],
    ) -> None:
        self._file = file
        self._endpoints = endpoints
        self._log_of = log_of
        self._record = record
        self._seen: TableStates = {}

    def state(self, table: str) -> TableState | None:
        """How a table stands; None if nothing was ever written to it."""
        return load_states(self._file).get(table)

    async def run(self) -> None:
        """Record what happens to tables as events of the endpoints that log into them, until cancelled."""
        self._seen = load_states(self._file)
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Record what has happened since the last look."""
        now = load_states(self._file)
        changes = {table: state for table, state in now.items() if _has_changed(self._seen.get(table), state)}
        if changes:
            self._record(
                [
                    (endpoint.id, _event(table, self._seen.get(table), changes[table]))
                    for endpoint in self._endpoints()
                    for table in self._log_of(endpoint).tables
                    if table in changes
                ]
            )
        self._seen = now


def _has_changed(before: TableState | None, after: TableState) -> bool:
    was = before.status if before is not None else TableStatus.PENDING
    refused = before.refused_rows if before is not None else 0
    is_degraded = TableStatus.DEGRADED in {was, after.status}
    return (is_degraded and was is not after.status) or after.refused_rows > refused


def _event(table: str, before: TableState | None, after: TableState) -> Event:
    refused = after.refused_rows - (before.refused_rows if before is not None else 0)
    if refused > 0:
        return Event(EventKind.TABLE_REFUSED_ROWS, f"{table} does not take {refused} row(s), which are kept apart.")
    if after.status is TableStatus.DEGRADED:
        return Event(EventKind.TABLE_DEGRADED, f"{table} takes no rows, they are kept until it does: {after.message}")
    return Event(EventKind.TABLE_RECOVERED, f"{table} takes rows again.")
