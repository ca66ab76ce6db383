"""What processes spend: processor time and memory, all that they have started included."""

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil


def cpu_s_of(pids: Iterable[int]) -> float:
    """Processor time of processes and their descendants so far, with the children that they have waited for.

    Linux rounds each process down to a hundredth of a second.
    """
    spent_s = 0.0
    for process in _families(pids):
        with suppress(psutil.Error):
            spent_s += sum(process.cpu_times()[:4])  # user and system, its own and of its dead children
    return spent_s


def memory_bytes_of(pids: Iterable[int]) -> int | None:
    """What processes and their descendants hold, pages that several share divided among them; None but on Linux."""
    held_bytes = 0
    for process in _families(pids):
        with suppress(psutil.Error):
            share = getattr(process.memory_full_info(), "pss", None)
            if share is None:
                return None
            held_bytes += share
    return held_bytes


def _families(pids: Iterable[int]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for pid in pids:
        with suppress(psutil.Error):
            leader = psutil.Process(pid)
            found |= {leader, *leader.children(recursive=True)}
    return found


class MachineTime(NamedTuple):
    """What the machine's processors have done so far, in seconds of one processor."""

    busy_s: float
    all_s: float

    def busy_share_since(self, earlier: "MachineTime") -> float:
        """The share of its processors that was not idle."""
        return (self.busy_s - earlier.busy_s) / max(self.all_s - earlier.all_s, 1e-9)


def machine_time() -> MachineTime:
    """Of all processors together."""
    times = psutil.cpu_times()
    # What virtual machines on it have spent is in `user` already.
    all_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return MachineTime(all_s - times.idle - getattr(times, "iowait", 0.0), all_s)
