"""Processor time of the server that is measured, where it runs on this machine."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from penstock.cli.bench_target import Asked
from penstock.cli.session import settings_for
from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.runtime.spending import cpu_s_of
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import SocketFolder

Spent = dict[str, float]
"""Seconds so far, by role."""


def spender_of(asked: Asked, pid: int | None, home: Path | None) -> Callable[[], Spent] | None:
    """What tells how much the server has spent; None if it is not known which processes it has."""
    if pid is not None:
        return lambda: {f"pid {pid}": cpu_s_of([pid])}
    if asked.stack is None:
        return None
    supervisor, folder = asked.stack.pid, settings_for(home).home.run
    return lambda: _spent_by_stack(supervisor, asyncio.run(_processes(folder)), asked.endpoint)


def since(before: Spent, after: Spent) -> Spent:
    """What was spent between two moments; a process that is gone takes nothing back."""
    return {role: max(spent_s - before.get(role, 0.0), 0.0) for role, spent_s in after.items()}


def _spent_by_stack(supervisor: int, processes: list[ProcessInfo], endpoint: str | None) -> Spent:
    """Gateways, replicas of the endpoint, and all else that the stack runs."""
    gateways = cpu_s_of(p.pid for p in processes if p.role == "gateway" and p.pid)
    replicas = cpu_s_of(p.pid for p in processes if p.role == "replica" and p.endpoint == endpoint and p.pid)
    return {"gateways": gateways, "replicas": replicas, "others": cpu_s_of([supervisor]) - gateways - replicas}


async def _processes(folder: Path) -> list[ProcessInfo]:
    client = SupervisorClient(SocketFolder(folder))
    try:
        return (await client.snapshot()).processes
    except SupervisorUnreachable:
        return []
    finally:
        await client.close()
