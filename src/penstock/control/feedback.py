"""Takes feedback: a row for the feedback table, in the spool before the caller is told that it was taken."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.feedback import Feedback
from penstock.domain.table_name import TableName
from penstock.spool.writer import SpoolWriter
from penstock.wire.feedback_row import encode_row

_MAX_REMEMBERED = 100_000
"""Ids of what was taken: what a client sends again for want of an answer is not written again."""


class FeedbackBox:
    """Where feedback is dropped."""

    def __init__(self, spool: SpoolWriter) -> None:
        self._spool = spool
        self._taken: dict[tuple[TableName, str], None] = {}
        """By table and id, the oldest first."""

    async def add(self, items: Sequence[Feedback], table: TableName, endpoint: str, author: str) -> None:
        """Have items written, but those that were before.

        Raises:
            TemporarilyUnavailable: the spool could not be written; some of them may have been, and are known if they
                are sent again with their ids.
        """
        now_us = time.time_ns() // 1000
        written: list[asyncio.Future[bool]] = []
        for item in {item.id: item for item in items}.values():
            if (table, item.id) in self._taken:
                continue
            outcome = asyncio.get_running_loop().create_future()
            row = encode_row(item, endpoint, author, now_us)
            keep = partial(self._keep, (table, item.id), outcome)
            self._spool.add_row(keep, str(table), row, now_us, instead=partial(_settle, outcome, has_worked=False))
            written.append(outcome)
        if not all(await asyncio.gather(*written)):
            raise TemporarilyUnavailable(
                "The feedback could not be written: the spool is full, or its disk cannot be written. "
                "Send it again later."
            )

    def _keep(self, key: tuple[TableName, str], outcome: "asyncio.Future[bool]") -> None:
        self._taken[key] = None
        if len(self._taken) > _MAX_REMEMBERED:
            del self._taken[next(iter(self._taken))]
        _settle(outcome, has_worked=True)


def _settle(outcome: "asyncio.Future[bool]", *, has_worked: bool) -> None:
    if not outcome.done():
        outcome.set_result(has_worked)
