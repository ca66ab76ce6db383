"""Publishes the routing table: to a file, from which a gateway starts, and to every gateway that is connected.

A table is written to the file before it is sent, so that a gateway that starts at any moment holds the newest table
or subscribes to it. The table is *settled* once every gateway that the supervisor runs has acknowledged it: only then
may a replica that is no longer in it be drained.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path

from penstock.domain.planning import Routing
from penstock.domain.routing import RoutingTable, succeed
from penstock.faults import fault_point
from penstock.wire.messages import (
    MAX_LINE_BYTES,
    Acknowledge,
    Report,
    Subscribe,
    Table,
    encode_line,
    gateway_messages,
    push_line,
    read_message,
)
from penstock.wire.routing_table import load_table, save_table

_SETTLE_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class Publisher:
    """The newest table and who has acknowledged which."""

    def __init__(
        self,
        file: Path,
        build: Callable[[], RoutingTable],
        gateway_pids: Callable[[], frozenset[int]],
        on_settled: Callable[[], None],
        on_report: Callable[[int, Report, float], None] | None = None,
    ) -> None:
        self._file = file
        self._build = build
        self._gateway_pids = gateway_pids
        self._on_settled = on_settled
        self._on_report = on_report
        self._table = load_table(file) or RoutingTable()
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._acknowledged: dict[int, int] = {}
        self._changed = asyncio.Condition()

    def publish(self) -> None:
        """Build the table anew; write and send it if anything in it changed."""
        table = succeed(self._table, self._build())
        if table is self._table and self._file.exists():
            return
        save_table(self._file, table)
        self._table = table
        line = encode_line(Table(table))
        for writer in self._writers.values():
            push_line(writer, line)
        fault_point("table-after-send")

    @property
    def is_settled(self) -> bool:
        """Whether every running gateway routes by the newest table."""
        return all(self._acknowledged.get(pid) == self._table.version for pid in self._gateway_pids())

    def scales(self) -> dict[str, int]:
        """How many replicas each deployment has in the newest table."""
        return self._table.scales()

    def routing(self) -> Routing:
        """What the gateways are known to route by."""
        return Routing(self._table.slots(), self._table.sleeping_slots(), self.is_settled)

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the newest table is settled; False if it was not within the time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.is_settled)
                return True
        return False

    async def publish_and_settle(self) -> bool:
        """Publish and wait until every gateway keeps to it; False if one has not confirmed it in time."""
        self.publish()
        return await self.settled(_SETTLE_TIMEOUT_S)

    async def gateways_changed(self) -> None:
        """The set of running gateways may have changed, and with it whether the table is settled."""
        async with self._changed:
            self._changed.notify_all()

    async def serve(self, listener: socket.socket) -> None:
        """Serve gateways on a listening socket until cancelled."""
        server = await asyncio.start_unix_server(self._serve_gateway, sock=listener, limit=MAX_LINE_BYTES)
        async with server:
            await server.serve_forever()

    async def _serve_gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pid: int | None = None
        try:
            while (message := await read_message(reader, gateway_messages)) is not None:
                match message:
                    case Subscribe(pid=subscriber, version=version):
                        pid = subscriber
                        self._writers[pid] = writer
                        if version == self._table.version:
                            await self._acknowledge(pid, version)
                        else:
                            writer.write(encode_line(Table(self._table)))
                    case Report() as report:
                        if pid is not None and self._on_report is not None:
                            self._on_report(pid, report, time.monotonic())
                    case Acknowledge(version=version):
                        if pid is not None:
                            await self._acknowledge(pid, version)
        except ConnectionError as exc:
            _log.warning("a gateway's subscription broke: %s", exc)
        finally:
            if pid is not None and self._writers.get(pid) is writer:
                del self._writers[pid]
                self._acknowledged.pop(pid, None)
            writer.close()

    async def _acknowledge(self, pid: int, version: int) -> None:
        self._acknowledged[pid] = version
        await self.gateways_changed()
        if self.is_settled:
            self._on_settled()
