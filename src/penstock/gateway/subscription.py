"""Keeps the gateway's table up to date: subscribes with the control plane, swaps, acknowledges, reports load.

While the control plane is away the gateway goes on with what it has, and keeps trying to reach it.
"""

import asyncio
import logging
import os
import time

from penstock.faults import fault_point
from penstock.gateway.reporting import MakeReport
from penstock.gateway.table import CurrentTable
from penstock.wire.messages import (
    MAX_LINE_BYTES,
    Acknowledge,
    Subscribe,
    encode_line,
    push_line,
    read_message,
    tables,
)
from penstock.wire.sockets import ROUTING, SocketFolder

_RETRY_S = 0.1
_REPORT_EVERY_S = 1.0

_log = logging.getLogger(__name__)


async def follow_tables(sockets: SocketFolder, table: CurrentTable, report: MakeReport) -> None:
    """Runs until it is cancelled."""
    while True:
        try:
            await _follow_once(sockets, table, report)
        except OSError as exc:
            _log.debug("the control plane is away: %s", exc)
        await asyncio.sleep(_RETRY_S)


async def _follow_once(sockets: SocketFolder, table: CurrentTable, report: MakeReport) -> None:
    reader, writer = await asyncio.open_unix_connection(sockets.address(ROUTING), limit=MAX_LINE_BYTES)
    reporting = asyncio.create_task(_report(writer, report), name="report load")
    try:
        writer.write(encode_line(Subscribe(os.getpid(), table.version or 0)))
        while (message := await read_message(reader, tables)) is not None:
            table.swap(message.table)
            _log.info("routing table %d is in use", message.table.version)
            fault_point("table-before-acknowledge")
            writer.write(encode_line(Acknowledge(message.table.version)))
            await writer.drain()
    finally:
        reporting.cancel()
        writer.close()


async def _report(writer: asyncio.StreamWriter, report: MakeReport) -> None:
    while not writer.is_closing():
        await asyncio.sleep(_REPORT_EVERY_S)
        push_line(writer, encode_line(report(time.monotonic())))
