"""Tells of feedback that still belongs to no request a day after it was told.

Until then it waits in its table, which takes whatever comes: a prediction may be visible only later. Once an hour the
feedback that has become a day old is held against the payload table; how far that has got is kept in a file.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from penstock.client.feedback_check import CheckFailed
from penstock.domain.catalog import feedback_table
from penstock.domain.endpoint import Endpoint
from penstock.domain.events import Event, EventKind
from penstock.domain.table_name import TableName
from penstock.wire.feedback_check import Answer, Question
from penstock.wire.whole_file import write_whole

PATIENCE_S = 24 * 3600.0
_LOOK_EVERY_S = 3600.0

_log = logging.getLogger(__name__)

Find = Callable[[Sequence[Question]], Awaitable[list[Answer]]]


class UnmatchedFeedback:
    """Looks for it."""

    def __init__(
        self,
        warehouse: Path,
        state_file: Path,
        endpoints: Callable[[], list[Endpoint]],
        payload_of: Callable[[Endpoint], TableName | None],
        find: Find,
        record: Callable[[Sequence[tuple[str, Event]]], None],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._warehouse = warehouse
        self._state_file = state_file
        self._endpoints = endpoints
        self._payload_of = payload_of
        self._find = find
        self._record = record
        self._now_s = now_s

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (CheckFailed, OSError) as exc:
                _log.warning("feedback could not be held against predictions, it is tried again: %s", exc)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Hold what has become a day old since the last look against its payload table.

        Raises:
            CheckFailed: it could not be done.
            OSError: how far it has got cannot be kept.
        """
        done = self._done()
        until_us = int((self._now_s() - PATIENCE_S) * 1e6)
        asked = {
            endpoint.id: self._question(payload, done, until_us)
            for endpoint in self._endpoints()
            if (payload := self._payload_of(endpoint)) is not None and self._folder(feedback_table(payload)).is_dir()
        }
        if not asked:
            return
        answers = await self._find([*asked.values()])
        told = []
        for (endpoint_id, question), answer in zip(asked.items(), answers, strict=True):
            if answer.failure:
                _log.warning("feedback in %s could not be read, it is tried again: %s", question.table, answer.failure)
                continue
            done[question.table] = until_us
            if answer.count:
                told.append((endpoint_id, Event(EventKind.FEEDBACK_UNMATCHED, _reason(question, answer))))
        write_whole(self._state_file, msgspec.json.encode(done))
        self._record(told)

    def _question(self, payload: TableName, done: dict[str, int], until_us: int) -> Question:
        table = feedback_table(payload)
        since_us = done.get(str(table), 0)
        return Question(str(table), str(self._folder(table)), str(self._folder(payload)), since_us, until_us)

    def _folder(self, table: TableName) -> Path:
        return self._warehouse.joinpath(*table.parts)

    def _done(self) -> dict[str, int]:
        try:
            return msgspec.json.decode(self._state_file.read_bytes(), type=dict[str, int])
        except (OSError, msgspec.MsgspecError):
            return {}


def _reason(question: Question, answer: Answer) -> str:
    examples = ", ".join(answer.examples)
    return (
        f"{answer.count} entries of {question.table} tell of requests that are not in the payload table a day later; "
        f"among them {examples}."
    )
