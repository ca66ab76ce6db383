"""What a replica uses, read from `/proc`: its processes, their memory, their threads.

Memory is first taken from `status`, which costs some 40 us a process and counts pages that are shared with others
whole. Only if that much would matter is the exact figure read from `smaps_rollup`, where every page is divided among
those that share it; that costs 10 us a megabyte. Pages of files are not counted: the kernel drops them when it must.
"""

import contextlib
import os
import signal
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_AT_MOST = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
_EXACT = (b"Pss_Anon:", b"Pss_Shmem:", b"SwapPss:")
_SESSION, _STARTED = 3, 19
"""Fields of `stat` that follow the name of the program, from 0."""


class Member(NamedTuple):
    """A process, told apart from a later one of the same id by when it started."""

    pid: int
    started: int


def family(pid: int, orphans: Collection[Member], before: Collection[Member]) -> frozenset[Member]:
    """A process, its descendants, and those of its descendants whose own parents died.

    Args:
        pid: the leader of the replica's session.
        orphans: adopted processes, of whatever replica.
        before: the family when it was last looked at; a member that has left the session is known by that.
    """
    found: dict[int, Member] = {}
    waiting = [pid, *(orphan.pid for orphan in orphans if orphan in before or _stat(orphan.pid)[0] == pid)]
    while waiting:
        one = waiting.pop()
        _, started = _stat(one)
        if started is not None and one not in found:
            found[one] = Member(one, started)
            waiting += children(one)
    return frozenset(found.values())


def adopted(known: Collection[int]) -> list[Member]:
    """Children of this process that nobody here knows of: orphans of replicas, and spares of the fork server."""
    members = ((pid, _stat(pid)[1]) for pid in children(os.getpid()) if pid not in known)
    return [Member(pid, started) for pid, started in members if started is not None]


def children(pid: int) -> list[int]:
    """Ids of the children of a process, of whichever thread."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is needed, often
            found += map(int, _read(f"{pid}/task/{thread}/children").split())
    return found


def at_most(members: Iterable[Member]) -> tuple[int, int]:
    """Bytes that processes use at most, and the number of their threads."""
    total_bytes = tasks = 0
    for member in members:
        for line in _read(f"{member.pid}/status").splitlines():
            if line.startswith(_AT_MOST):
                total_bytes += int(line.split()[1]) << 10
            elif line.startswith(b"Threads:"):
                tasks += int(line.split()[1])
    return total_bytes, tasks


def exactly(members: Iterable[Member]) -> int:
    """Bytes that processes use, their share of what they share with others included."""
    lines = (line for member in members for line in _read(f"{member.pid}/smaps_rollup").splitlines())
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(_EXACT))


def kill(members: Iterable[Member]) -> None:
    """End processes, and nothing that has taken their ids since."""
    for member in members:
        if _stat(member.pid)[1] == member.started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)


def kernel_oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    for line in _read("vmstat").splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


def is_readable() -> bool:
    """Whether any of this can be read here."""
    return bool(_read("self/smaps_rollup"))


def _stat(pid: int) -> tuple[int | None, int | None]:
    """Session and start of a process; nothing of one that is gone. One that was not yet reaped still has its id."""
    fields = _read(f"{pid}/stat").rpartition(b")")[2].split()
    if not fields:
        return None, None
    return int(fields[_SESSION]), int(fields[_STARTED])


def _read(name: str) -> bytes:
    try:
        return (_PROC / name).read_bytes()
    except OSError:
        return b""
