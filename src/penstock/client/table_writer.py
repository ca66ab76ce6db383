"""Asks the table writer to commit what the spools hold: what `penstock tables flush` does."""

import asyncio

import msgspec

from penstock.wire.messages import MAX_LINE_BYTES, Flushed
from penstock.wire.sockets import TABLE_WRITER, SocketFolder


class TableWriterUnreachable(Exception):
    """No table writer runs, or it ended before it had answered."""


async def flush(sockets: SocketFolder, timeout_s: float) -> Flushed:
    """Wait until all that is in the spools now has been committed, or parked where a table takes nothing.

    Raises:
        TableWriterUnreachable: it does not run, or ended meanwhile.
        TimeoutError: it took longer.
    """
    async with asyncio.timeout(timeout_s):
        try:
            reader, writer = await asyncio.open_unix_connection(sockets.address(TABLE_WRITER), limit=MAX_LINE_BYTES)
        except OSError as exc:
            raise TableWriterUnreachable(f"the table writer does not run: {exc}") from exc
        try:
            line = await reader.readline()
            return msgspec.json.decode(line, type=Flushed)
        except (OSError, msgspec.MsgspecError) as exc:
            raise TableWriterUnreachable("the table writer ended before it had answered") from exc
        finally:
            writer.close()
