"""How much memory this process holds for itself alone, now and at most."""

import re
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc/self")


class OwnMemory(NamedTuple):
    """Bytes that are gone with this process. What it shares with the process that it was forked from is not counted."""

    bytes: int
    peak_bytes: int


def own_memory() -> OwnMemory | None:
    """Read from Linux's `/proc`; None elsewhere. It walks all of the process's pages: some milliseconds.

    The kernel keeps no record of the most private memory. But what was resident at the peak and is not any more was
    this process's own: it never lets go of what it shares with its fork server.
    """
    try:
        private = _sum_of("smaps_rollup", r"Private_(?:Clean|Dirty|Hugetlb)")
        gone = _sum_of("status", "VmHWM") - _sum_of("status", "VmRSS")
    except OSError:
        return None
    return OwnMemory(private, private + max(gone, 0))


def _sum_of(file: str, names: str) -> int:
    """The sum of fields that are told in kB."""
    found = re.findall(rf"^{names}:\s*(\d+) kB", (_PROC / file).read_text(), re.MULTILINE)
    return sum(map(int, found)) * 1024
