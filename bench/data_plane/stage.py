"""What stands around the gateway in benches: an echo replica behind it, a routing table, and clients in front.

The gateway is the real process. There is no supervisor and no control plane: it starts from the saved table, as it does
while the control plane is away.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

import msgspec

from penstock.domain.access import digest_of
from penstock.domain.inference_log import InferenceLog
from penstock.domain.routing import Access, RoutedEndpoint, RoutedEntity, RoutingTable
from penstock.processes.launch import GatewayLaunch, SpoolLaunch
from penstock.settings import Home
from penstock.wire.routing_table import save_table
from penstock.wire.sockets import SocketFolder, slot_socket

HERE = Path(__file__).parent
SOURCE = Path(__file__).parents[2] / "src"
TOKEN = "pst_" + "0123456789abcdef" * 4
ENDPOINT = "iris"
SPOOL_BYTES = 8 << 30
SYNC_S = 1.0
"""The default."""
TABLE = f"main.default.{ENDPOINT}_payload"
TARGET = f"/serving-endpoints/{ENDPOINT}/invocations"
SLOTS = ("a-0", "b-0")


@dataclass(frozen=True)
class Server:
    """A gateway, or what is compared with it."""

    address: str
    pid: int
    replica_pid: int
    home: Path
    target: str = TARGET
    token: str = TOKEN
    body: str | None = None
    """What clients send, if it is not what the echo replica gets."""

    def cpu_ns(self) -> int:
        """Processor time that it has used so far, all threads, user and system."""
        return cpu_ns(self.pid)

    def rss_bytes(self) -> int:
        """Its resident memory."""
        return rss_bytes(self.pid)


def cpu_ns(pid: int) -> int:
    """Processor time of a process so far: all threads, user and system."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def routing_table(**endpoint: Any) -> RoutingTable:
    """One endpoint whose traffic is split evenly over two served entities."""
    entities = tuple(
        RoutedEntity(slot[0], slot[0] * 32, slot, (slot,), 50, timeout_s=297, queue_size=1000) for slot in SLOTS
    )
    routed = RoutedEndpoint("e" * 32, ENDPOINT, 1, entities, queriers=("user_name:bench",), **endpoint)
    return RoutingTable(1, {ENDPOINT: routed}, {digest_of(TOKEN): Access("bench")})


def logging_table() -> RoutingTable:
    """The same endpoint, every answer of which is logged for its inference table."""
    return routing_table(log=InferenceLog(payload=TABLE))


def client(server: Server, connections: int, seconds: float) -> dict[str, Any]:
    """What a closed loop of that many connections saw."""
    script = str(HERE / "closed_loop.py")
    arguments = [server.address, server.target, server.token, str(connections), str(seconds)]
    arguments += [] if server.body is None else [server.body]
    done = subprocess.run(
        [sys.executable, script, *arguments], stdout=subprocess.PIPE, check=True, timeout=seconds + 60
    )
    return dict(json.loads(done.stdout))


@contextmanager
def home_with_replica(table: RoutingTable) -> Iterator[tuple[Home, int]]:
    """A home folder with a saved table, and an echo replica in its slots: the folder, and the replica's pid."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        home = Home(Path(folder))
        home.run.mkdir()
        save_table(home.table_file, table)
        sockets = SocketFolder(home.run)
        addresses = [sockets.address(slot_socket(slot)) for slot in SLOTS]
        with started([sys.executable, str(HERE / "echo_replica.py"), *addresses]) as replica:
            assert replica.stdout is not None
            replica.stdout.readline()
            yield home, replica.pid


@contextmanager
def gateway(table: RoutingTable | None = None, **launch: Any) -> Iterator[Server]:
    """A gateway with an echo replica behind it. `launch` goes into its launch document."""
    with home_with_replica(table or routing_table()) as (home, replica_pid):
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        reading, writing = os.pipe()
        document = GatewayLaunch(
            parent_pid=os.getpid(),
            status_fd=writing,
            home=str(home.path),
            name="gateway",
            siblings=(),
            listen_fd=listener.fileno(),
            local_fd=None,
            tls=None,
            cors_origins=(),
            hold_timeout_s=60,
            idle_timeout_s=300,
            log_max_body_bytes=1 << 20,
            spool=SpoolLaunch(SPOOL_BYTES, SYNC_S),
            tracking_uri=None,
            tracking_authorization=None,
            **launch,
        )
        command = [sys.executable, "-m", "penstock.processes.gateway"]
        with started(command, pass_fds=(listener.fileno(), writing), stdin=msgspec.json.encode(document)) as process:
            os.close(writing)
            os.read(reading, 1 << 16)
            os.close(reading)
            yield Server("{}:{}".format(*listener.getsockname()), process.pid, replica_pid, home.path)
        listener.close()


@contextmanager
def floor(program: Path, *, is_logged: bool) -> Iterator[Server]:
    """The program in C that does the same, with an echo replica behind it."""
    with home_with_replica(routing_table()) as (home, replica_pid):
        sockets = SocketFolder(home.run)
        slots = [sockets.address(slot_socket(slot)) for slot in SLOTS]
        spool = str(home.path / "floor.spool") if is_logged else "-"
        with started([str(program), TOKEN, spool, *slots]) as process:
            assert process.stdout is not None
            address = process.stdout.readline().decode().strip()
            yield Server(address, process.pid, replica_pid, home.path)


@contextmanager
def started(
    command: list[str], pass_fds: tuple[int, ...] = (), stdin: bytes = b"", **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block, with these environment variables beside ours."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **variables}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=pass_fds, env=environment
    )
    try:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        yield process
    finally:
        process.terminate()
        process.wait(60)
