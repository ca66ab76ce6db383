"""Tells the table of served entities which there are: a row for each that a config brings, one more when it is deleted.

What has been told is kept in a file, so that it is told once; a crash between the row and the file tells it twice, in
the same words.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from penstock.domain.endpoint import Endpoint
from penstock.spool.writer import SpoolWriter
from penstock.wire.served_entity_row import TABLE, ServedEntityRow, served_entity_row
from penstock.wire.whole_file import write_whole

_LOOK_EVERY_S = 2.0

_log = logging.getLogger(__name__)


class ServedEntities:
    """Looks at the endpoints now and then."""

    def __init__(
        self,
        spool: SpoolWriter,
        file: Path,
        endpoints: Callable[[], list[Endpoint]],
        workspace_id: str,
        now_us: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._file = file
        self._endpoints = endpoints
        self._workspace_id = workspace_id
        self._now_us = now_us
        self._told = _load(file)
        """By id; what is no part of an endpoint's configs any more is forgotten."""

    async def run(self) -> None:
        """Tell what changes, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Tell what has changed since the last look."""
        endpoints = self._endpoints()
        there = {row.served_entity_id: row for endpoint in endpoints for row in self._rows(endpoint)}
        names = {endpoint.id for endpoint in endpoints}
        now_us = self._now_us()
        deleted = [
            msgspec.structs.replace(row, change_time=now_us, endpoint_delete_time=now_us)
            for row in self._told.values()
            if row.endpoint_id not in names
        ]
        new = [row for id_, row in there.items() if id_ not in self._told]
        if not new and not deleted and there.keys() == self._told.keys():
            return
        rows = [*new, *deleted]
        if not rows:
            self._keep(there)
        for row in rows:
            # All of them are written together, or none: what the last one lets go counts for all.
            leave = partial(self._keep, there) if row is rows[-1] else _nothing
            self._spool.add_row(leave, TABLE, msgspec.json.encode(row), row.change_time, instead=_nothing)

    def _rows(self, endpoint: Endpoint) -> Iterator[ServedEntityRow]:
        for config in (endpoint.active, endpoint.pending):
            if config is not None:
                for entity in config.entities:
                    yield served_entity_row(endpoint, config, entity, self._workspace_id)

    def _keep(self, told: dict[str, ServedEntityRow]) -> None:
        self._told = told
        try:
            write_whole(self._file, msgspec.json.encode(told))
        except OSError as exc:
            _log.warning("which served entities were told cannot be kept: %s", exc)


def _nothing() -> None:
    """The row is there, or the spool takes none now and the next look tells it."""


def _load(file: Path) -> dict[str, ServedEntityRow]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, ServedEntityRow])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
