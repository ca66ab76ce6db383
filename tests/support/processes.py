"""A stack's processes, asked of the supervisor itself: it knows them also while the control plane is dead."""

import asyncio
import os
import signal

from penstock.client.supervisor import SupervisorClient
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import SocketFolder
from support.stack import Stack, wait_for


def processes(stack: Stack, role: str | None = None, endpoint: str | None = None) -> list[ProcessInfo]:
    """All, or those of a role and endpoint."""

    async def ask() -> list[ProcessInfo]:
        client = SupervisorClient(SocketFolder(stack.home / "run"))
        try:
            return list((await client.snapshot()).processes)
        finally:
            await client.close()

    found = asyncio.run(ask())
    return [p for p in found if role in (None, p.role) and endpoint in (None, p.endpoint)]


def ready_pids(stack: Stack, role: str, endpoint: str | None = None) -> list[int]:
    """Process ids of those that are ready."""
    return [p.pid for p in processes(stack, role, endpoint) if p.state == "ready" and p.pid is not None]


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
    wait_for(lambda: not {p.pid for p in processes(stack)} & set(pids), f"the supervisor to bury {pids}")
