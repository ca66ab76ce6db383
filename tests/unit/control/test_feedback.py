"""Feedback is in the spool when its caller is told so, once, and where it cannot be the caller is told that."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from penstock.control.feedback import FeedbackBox
from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.feedback import Feedback
from penstock.domain.table_name import TableName
from penstock.spool.record import Kind, read_records
from penstock.spool.segments import segments
from penstock.spool.writer import SpoolWriter

TABLE = TableName("main", "default", "x_feedback")


def scripted(folder: Path, script: Callable[[FeedbackBox, SpoolWriter], Awaitable[None]]) -> None:
    """Run a script with a box whose spool is in a folder."""

    async def main() -> None:
        spool = SpoolWriter(folder, 1 << 20, asyncio.get_running_loop().call_soon)
        await script(FeedbackBox(spool), spool)

    asyncio.run(main())


def told(folder: Path) -> list[str]:
    """Ids of the rows in the spool."""
    found = [record for path in segments(folder) for record, _ in read_records(path.read_bytes())]
    return [msgspec.json.decode(record.answer)["feedback_id"] for record in found if record.kind is Kind.ROW]


def test_p5_6_what_is_sent_again_is_written_once(tmp_path: Path) -> None:
    async def script(box: FeedbackBox, _: SpoolWriter) -> None:
        await box.add([Feedback("1", "r", None, rating=1.0), Feedback("1", "r", None, rating=1.0)], TABLE, "x", "ann")
        await box.add([Feedback("1", "r", None, rating=1.0), Feedback("2", None, "c")], TABLE, "x", "ann")
        assert told(tmp_path) == ["1", "2"]

    scripted(tmp_path, script)


def test_p5_6_what_cannot_be_written_is_not_said_to_be_and_can_be_sent_again(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("in the way")

    async def script(box: FeedbackBox, spool: SpoolWriter) -> None:
        with pytest.raises(TemporarilyUnavailable, match="could not be written"):
            await box.add([Feedback("1", "r", None)], TABLE, "x", "ann")
        assert (spool.lost, spool.tally.counts()) == (0, {}), "nobody was told that it was taken"
        folder.unlink()
        spool._blocked_until_s = 0.0
        await box.add([Feedback("1", "r", None)], TABLE, "x", "ann")
        assert told(folder) == ["1"]

    scripted(folder, script)
