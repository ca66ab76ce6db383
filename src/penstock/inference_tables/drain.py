"""Empties spools into tables, chunk by chunk.

Each chunk goes to its tables, one transaction a table, and only then is it forgotten. A table that is in trouble is in
nobody's way: its rows are parked, it is tried again after a while, and what is parked goes before what comes later.
What cannot even be parked stays in the spool, and the caller tries again.
"""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from penstock.domain.inference_log import TableStatus
from penstock.inference_tables.chunk import Chunk, Refused, Rows
from penstock.inference_tables.delta_table import Gone, InferenceTable, Mark, Trouble
from penstock.inference_tables.parking import Parking
from penstock.inference_tables.table_kind import BadRow, TableKind
from penstock.inference_tables.tail import Tail
from penstock.wire.table_states import TableState, load_states, save_states

COMPACT_EVERY = 200
"""Versions of a table: reading and committing get slower with each small file."""
CLEAN_EVERY_S = 6 * 3600.0
GONE_PATIENCE_S = 600.0
"""A table that was deleted or renamed is made anew only after this: it may come back."""
FIRST_RETRY_S, MAX_RETRY_S = 2.0, 60.0
_MAX_OPEN_TABLES = 64

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Open:
    """A table that is written to."""

    table: InferenceTable
    version: int = -1
    """At which it was compacted, or opened."""
    cleaned_at_s: float = 0.0


@dataclass(slots=True)
class _Pause:
    """How long a table in trouble is left alone."""

    until_s: float
    length_s: float


class Drain:
    """All spools and all tables."""

    def __init__(
        self,
        spool: Path,
        warehouse: Path,
        parking: Parking,
        states_file: Path,
        workspace_id: str,
        max_answer_bytes: int,
        keeps_days: int = 0,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._warehouse = warehouse
        self._parking = parking
        self._states_file = states_file
        self._workspace_id = workspace_id
        self._max_answer_bytes = max_answer_bytes
        self._keeps_days = keeps_days
        self._now_s = now_s
        self._tails: dict[Path, Tail] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._pauses: dict[str, _Pause] = {}
        self._states = load_states(states_file)
        self._told = dict(self._states)

    def unread_bytes(self) -> int:
        """How much is in the spools that is in no table.

        Raises:
            OSError: a spool cannot be read.
        """
        return sum(tail.unread_bytes() for tail in self._look())

    def run(self) -> None:
        """Commit all that is there now.

        Raises:
            OSError: a spool cannot be read or emptied, or rows can go nowhere; try again later.
        """
        try:
            for table in self._parking.tables():
                self._retry(table)
            for tail in self._look():
                end = tail.end()  # what comes meanwhile is for the next time: under load there is always more
                while (chunk := tail.next_chunk()) is not None:
                    self._commit(chunk)
                    tail.done()
                    if chunk.end > end:
                        break
                tail.clean(os.sync)
        finally:
            self._tell()

    def tidy(self) -> None:
        """Compact and clean the tables for which it is time."""
        for name, opened in list(self._open.items()):
            try:
                self._tidy(name, opened)
            except Trouble as exc:
                _log.warning("%s could not be tidied up: %s", name, exc)

    @property
    def parked_tables(self) -> list[str]:
        """Tables whose rows are parked."""
        return self._parking.tables()

    def _look(self) -> list[Tail]:
        try:
            folders = sorted(path for path in self._spool.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        for folder in folders:
            if folder not in self._tails:
                self._tails[folder] = Tail(folder, self._parking, self._workspace_id, self._max_answer_bytes)
        return [self._tails[folder] for folder in folders]

    def _commit(self, chunk: Chunk) -> None:
        for (table, _), rows in chunk.tables.items():
            fresh = rows.after(self._parking.parked_up_to(table, chunk.app))
            try:
                self._check_pause(table)
                self._unpark(table)
                self._append(table, chunk.app, chunk.end, fresh)
            except Trouble as exc:
                self._suffer(table, exc)
                if fresh.values:
                    self._parking.park(table, chunk.app, chunk.end, fresh)
            else:
                self._recover(table)
        if chunk.refused:
            self._parking.refuse("records", chunk.app, chunk.end, chunk.refused)

    def _retry(self, table: str) -> None:
        try:
            self._check_pause(table)
            self._unpark(table)
        except Trouble as exc:
            self._suffer(table, exc)
        else:
            self._recover(table)

    def _unpark(self, table: str) -> None:
        """Commit what is parked for a table, in its order.

        Raises:
            Trouble: the table does not take it yet.
        """
        for path in self._parking.waiting(table):
            try:
                parked = self._parking.read(path)
            except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as exc:
                self._parking.set_aside(path, str(exc))
                continue
            self._append(table, parked.app, parked.end, parked.rows)
            self._parking.remove(path)

    def _append(self, name: str, app: str, end: int, rows: Rows) -> None:
        opened = self._opened(name, rows.kind)
        opened.table.refresh()
        fresh = rows.after(opened.table.version_of(app))
        if not fresh.values:
            return
        try:
            opened.table.append(fresh.kind, fresh.values, Mark(app, end))
        except BadRow:
            fresh, refused = _sorted_out(fresh)
            self._parking.refuse(name, app, end, refused)
            self._count(name, refused=len(refused))
            if not fresh.values:
                return
            opened.table.append(fresh.kind, fresh.values, Mark(app, end))
        self._count(name, rows=len(fresh.values))

    def _opened(self, name: str, kind: TableKind) -> _Open:
        """A table, made if there never was one.

        Raises:
            Trouble: it is gone, or cannot be opened or made.
        """
        state = self._states.get(name) or TableState(TableStatus.PENDING)
        opened = self._open.get(name)
        if opened is None:
            opened = _Open(InferenceTable(self._warehouse.joinpath(*name.split(".")), self._keeps_days))
            self._open[name] = opened
            if len(self._open) > _MAX_OPEN_TABLES:
                self._open.popitem(last=False)
        self._open.move_to_end(name)
        table = opened.table
        if not table.exists:
            if state.table_id and self._is_to_come_back(name, state):
                raise Gone(f"it was deleted or renamed; it is made anew if it is not back in {GONE_PATIENCE_S:.0f} s")
            table.create(kind)
        if opened.version < 0 or state.table_id != table.id:
            table.apply_properties(kind)
            opened.version = table.version
            self._states[name] = msgspec.structs.replace(state, table_id=table.id, gone_since_s=None)
        return opened

    def _is_to_come_back(self, name: str, state: TableState) -> bool:
        if state.gone_since_s is None:
            state = self._states[name] = msgspec.structs.replace(state, gone_since_s=self._now_s())
        return self._now_s() - (state.gone_since_s or 0) < GONE_PATIENCE_S

    def _tidy(self, name: str, opened: _Open) -> None:
        if name in self._pauses or not opened.table.exists:
            return
        version = opened.table.version
        if version // COMPACT_EVERY > opened.version // COMPACT_EVERY:
            opened.version = version
            opened.table.compact()
            _log.info("%s was compacted at version %d", name, version)
        now_s = self._now_s()
        if now_s - opened.cleaned_at_s > CLEAN_EVERY_S:
            opened.cleaned_at_s = now_s
            opened.table.clean(datetime.fromtimestamp(now_s, UTC).date())

    def _check_pause(self, table: str) -> None:
        """Leave a table in trouble alone for a while.

        Raises:
            Trouble: the while is not over.
        """
        pause = self._pauses.get(table)
        if pause is not None and self._now_s() < pause.until_s:
            raise Trouble(self._states[table].message)

    def _suffer(self, table: str, trouble: Trouble) -> None:
        pause = self._pauses.get(table)
        if pause is not None and self._now_s() < pause.until_s:
            return
        length_s = FIRST_RETRY_S if pause is None else min(pause.length_s * 2, MAX_RETRY_S)
        self._pauses[table] = _Pause(self._now_s() + length_s, length_s)
        state = self._states.get(table) or TableState(TableStatus.PENDING)
        if state.status is not TableStatus.DEGRADED or state.message != str(trouble):
            _log.error("%s takes no rows, they are parked: %s", table, trouble)
        self._states[table] = msgspec.structs.replace(state, status=TableStatus.DEGRADED, message=str(trouble))

    def _recover(self, table: str) -> None:
        self._pauses.pop(table, None)
        state = self._states.get(table)
        if state is not None and state.status is not TableStatus.READY:
            if state.status is TableStatus.DEGRADED:
                _log.warning("%s takes rows again", table)
            self._states[table] = msgspec.structs.replace(state, status=TableStatus.READY, message="")

    def _count(self, table: str, rows: int = 0, refused: int = 0) -> None:
        state = self._states[table]
        self._states[table] = msgspec.structs.replace(
            state, rows=state.rows + rows, refused_rows=state.refused_rows + refused
        )

    def _tell(self) -> None:
        """Others read how the tables stand; it is told again later if it cannot be now."""
        if self._states != self._told:
            try:
                save_states(self._states_file, self._states)
            except OSError as exc:
                _log.warning("the states of tables cannot be told: %s", exc)
            else:
                self._told = dict(self._states)


def _sorted_out(rows: Rows) -> tuple[Rows, list[Refused]]:
    """The rows that fit, and those that do not."""
    good, bad = Rows(rows.kind), []
    parts = [(0, len(rows.values))]
    while parts:
        first, end = parts.pop()
        try:
            rows.kind.columns(rows.values[first:end])
        except BadRow as exc:
            if end - first == 1:
                bad.append(Refused(rows.positions[first], str(exc), rows.values[first]))
            else:
                middle = (first + end) // 2
                parts += [(middle, end), (first, middle)]
        else:
            good.positions += rows.positions[first:end]
            good.values += rows.values[first:end]
    return good, bad
