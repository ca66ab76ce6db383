"""Waits for processes of a stack, and kills them."""

import os
import signal

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
