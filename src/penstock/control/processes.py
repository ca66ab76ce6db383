"""What the processes of the stack use of the machine, seen from outside: they are asked nothing."""

import contextlib
from collections.abc import Iterable

import psutil

from penstock.domain.process_usage import ProcessUsage
from penstock.wire.messages import ProcessInfo

_SUPERVISOR = "supervisor"
"""Its children are the others, which are told apart."""


def usages(processes: Iterable[ProcessInfo]) -> list[ProcessUsage]:
    """What each of these uses now, with all that it started. It reads a file or two for each process of the machine."""
    family = _children()
    return [_usage(process, family) for process in processes]


def _usage(process: ProcessInfo, children: dict[int, list[int]]) -> ProcessUsage:
    cpu_s, rss_bytes, open_files = 0.0, 0, 0
    pids = [] if process.pid is None else [process.pid]
    if process.role != _SUPERVISOR:
        for pid in pids:
            pids.extend(children.get(pid, ()))
    for pid in pids:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile, or is somebody else's
            seen = psutil.Process(pid)
            with seen.oneshot():
                times = seen.cpu_times()
                cpu_s += times.user + times.system
                rss_bytes += int(seen.memory_info().rss)
                open_files += seen.num_fds()
    return ProcessUsage(
        process.role,
        process.name,
        process.endpoint or "",
        process.entity or "",
        process.restarts,
        process.pid is not None,
        process.started_at_ms / 1000,
        cpu_s,
        rss_bytes,
        open_files,
    )


def _children() -> dict[int, list[int]]:
    """The processes that each process of the machine has started and that are still there."""
    found: dict[int, list[int]] = {}
    for process in psutil.process_iter(["pid", "ppid"]):
        found.setdefault(process.info["ppid"], []).append(process.info["pid"])
    return found
