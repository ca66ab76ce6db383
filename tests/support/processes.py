"""Waits for processes of a stack, halts and kills them, and listens to what gateways tell each other."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import requests

from penstock.wire.sockets import SocketFolder, gateway_socket
from support.stack import Stack, wait_for


def ready_pids(stack: Stack, role: str, endpoint: str | None = None) -> list[int]:
    """Process ids of those that are ready."""
    return [p.pid for p in stack.processes(role, endpoint) if p.state == "ready" and p.pid is not None]


def wait_ready(stack: Stack, role: str, count: int, endpoint: str | None = None, timeout_s: float = 60) -> list[int]:
    """Wait until so many are ready; their ids."""
    return wait_for(
        lambda: (pids := ready_pids(stack, role, endpoint)) and len(pids) == count and pids,
        f"{count} of {role} to be ready",
        timeout_s,
    )


def kill(stack: Stack, *pids: int) -> None:
    """`kill -9` them all, and wait until the supervisor has seen it."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not {p.pid for p in stack.processes()} & set(pids), f"the supervisor to bury {pids}")


@contextmanager
def connected_to(stack: Stack, pid: int) -> Iterator[requests.Session]:
    """A client with a connection to this gateway, and to no other: the others are halted while it connects."""
    others = [other for other in ready_pids(stack, "gateway") if other != pid]
    with requests.Session() as client:
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            assert client.get(f"{stack.url}/health", timeout=30).ok
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)
        yield client


def held(stack: Stack) -> int:
    """How many predictions its gateways hold whose clients have left, as they tell each other."""
    sockets = SocketFolder(stack.home / "run")
    count = 0
    for gateway in stack.processes("gateway"):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.connect(sockets.address(gateway_socket(gateway.name)))
            listener.sendall(b"GET /held HTTP/1.1\r\nhost: h\r\n\r\n")
            listener.settimeout(30)
            data = listener.recv(1 << 20)
            assert data.startswith(b"HTTP/1.1 200 "), data
            listener.settimeout(0.2)
            with suppress(TimeoutError):
                while more := listener.recv(1 << 20):
                    data += more
            count += data.count(b'"type":"Held"') - data.count(b'"type":"LetGo"')
    return count
