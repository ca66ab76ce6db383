"""The gateway process: the table, the routes, and the socket that the supervisor listens on."""

import asyncio
import gc
import logging
import random
import signal
import socket
import ssl
import sys
from importlib import import_module
from pathlib import Path

import aiohttp
import uvloop

from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.domain.routing import RoutedEntity
from penstock.gateway.announcer import Announcer
from penstock.gateway.answers import UpstreamAnswer
from penstock.gateway.app import Gateway
from penstock.gateway.backend import Backend, Recycle
from penstock.gateway.capture import Captures
from penstock.gateway.clients import Clients
from penstock.gateway.cors import CrossOrigin
from penstock.gateway.invocations import Invocations
from penstock.gateway.load import LoadMeter
from penstock.gateway.patience import Limits
from penstock.gateway.proxy import Upstream
from penstock.gateway.reporting import Reporter
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.gateway.subscription import follow_tables
from penstock.gateway.table import CurrentTable
from penstock.gateway.tracing import Exporter, Tracing
from penstock.processes.launch import GatewayLaunch, begin, report_failure, report_ready
from penstock.processes.tls import server_context
from penstock.settings import Home
from penstock.spool.writer import SpoolWriter
from penstock.wire.routing_table import load_table
from penstock.wire.sockets import CONTROL_PLANE, MLFLOW, SocketFolder, gateway_socket, slot_socket

_TLS_CLOSE_TIMEOUT_S = 300.0
"""Sending the rest of an answer falls into it: as long as a client may take for that."""
_KEEP_ALIVE_S = 2.0
_GC_THRESHOLD = 20_000
"""What is at work is more than the 700 objects at which Python looks for cycles, and answered calls leave none."""

_log = logging.getLogger(__name__)


def main() -> None:
    """Run one gateway until SIGTERM."""
    launch = begin(GatewayLaunch)
    try:
        exporter = _exporter(launch)
    except ImportError:
        report_failure(launch, "PENSTOCK_OTLP_ENDPOINT is set, which needs pip install 'penstock[otel]'.")
        sys.exit(1)
    uvloop.run(_serve(launch, exporter))
    if exporter is not None:
        exporter.close()


def _exporter(launch: GatewayLaunch) -> Exporter | None:
    """What sends traces, if they are wanted.

    Raises:
        ImportError: it is not installed.
    """
    if not launch.otlp_endpoint:
        return None
    exporter: Exporter = import_module("penstock.gateway.otlp").OtlpExporter(launch.otlp_endpoint, launch.name)
    return exporter


async def _serve(launch: GatewayLaunch, exporter: Exporter | None) -> None:
    home = Home(Path(launch.home))
    sockets = SocketFolder(home.run)
    supervisor = SupervisorClient(sockets)

    recycle = _recycling(supervisor)

    def make_backend(entity: RoutedEntity) -> Backend:
        return Backend(entity, lambda slot: sockets.address(slot_socket(slot)), launch.hold_timeout_s, recycle)

    table = CurrentTable(make_backend)
    meter = LoadMeter()
    saved = load_table(home.table_file)
    if saved is not None:
        table.swap(saved)

    loop = asyncio.get_running_loop()
    orphans = Orphans(loop.call_later)
    announcer = Announcer(orphans)
    siblings = Siblings(sockets, launch.siblings)
    spool = SpoolWriter(home.spool / launch.name, launch.spool.max_bytes, loop.call_soon, sync_s=launch.spool.sync_s)
    upstreams = _upstreams(launch, sockets)
    gateway = Gateway(
        table,
        Invocations(
            table,
            random.random,
            meter,
            orphans,
            siblings,
            Captures(spool, launch.log_max_body_bytes),
            Tracing(exporter, launch.trace_fraction),
        ),
        *upstreams,
        is_secure=launch.tls is not None,
    )
    routes = CrossOrigin(launch.cors_origins, gateway.begin).begin if launch.cors_origins else gateway.begin
    clients = Clients(Limits(idle_s=launch.idle_timeout_s))

    async def listen(descriptor: int, tls: ssl.SSLContext | None) -> asyncio.Server:
        listener = socket.socket(fileno=descriptor)
        return await loop.create_server(
            lambda: clients.connection(routes),
            sock=listener,
            ssl=tls,
            ssl_shutdown_timeout=None if tls is None else _TLS_CLOSE_TIMEOUT_S,
        )

    servers = [await listen(launch.listen_fd, server_context(launch.tls) if launch.tls else None)]
    if launch.local_fd is not None:
        servers.append(await listen(launch.local_fd, None))
    own_socket = gateway_socket(launch.name)
    for_siblings = await loop.create_unix_server(
        lambda: clients.connection(announcer.begin), sock=sockets.listen(own_socket)
    )
    siblings.follow()
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    report = Reporter(table, meter, clients, spool, upstreams, gateway.refusals).report
    tasks = [asyncio.create_task(work) for work in (follow_tables(sockets, table, report), clients.watch())]
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    report_ready(launch)

    await stopping.wait()
    gateway.is_draining = True
    for server in servers:
        server.close()
    announcer.close()
    await clients.drain()
    spool.close()
    for_siblings.close()
    sockets.remove(own_socket)
    await siblings.close()
    for task in tasks:
        task.cancel()
    await table.close()
    await supervisor.close()
    for upstream in upstreams:
        await upstream.close()


def _recycling(supervisor: SupervisorClient) -> Recycle:
    async def recycle(slot: str, pid: int, reason: str) -> None:
        try:
            await supervisor.recycle(slot, pid, reason)
        except SupervisorUnreachable as exc:
            _log.error("slot %s hangs and cannot be replaced: %s", slot, exc)

    return recycle


def _upstreams(launch: GatewayLaunch, sockets: SocketFolder) -> tuple[Upstream, Upstream]:
    """The control plane and the MLflow server."""
    mlflow = _session(None if launch.tracking_uri else sockets.address(MLFLOW))
    return (
        Upstream("control plane", _session(sockets.address(CONTROL_PLANE)), "http://localhost"),
        Upstream("MLflow server", mlflow, launch.tracking_uri or "http://localhost", launch.tracking_authorization),
    )


def _session(unix_address: str | None) -> aiohttp.ClientSession:
    """A client that passes bodies on as they are: nothing unpacked, no time limit, no limit of connections.

    An idle connection is given up before uvicorn closes it, which it does after 5 s: a request that is sent just then
    would fail, and one whose body has gone by cannot be sent again.
    """
    connector: aiohttp.BaseConnector
    if unix_address is None:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    else:
        connector = aiohttp.UnixConnector(unix_address, limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    return aiohttp.ClientSession(
        connector=connector,
        response_class=UpstreamAnswer,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


if __name__ == "__main__":
    main()
