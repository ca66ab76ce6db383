"""Limits that a replica's process puts on itself before it runs anything of its model."""

import contextlib
import resource
from pathlib import Path

from penstock.domain.confinement import Confinement

_FIRST_TO_DIE = "500"
"""Of 1000: when the machine is out of memory the kernel takes replicas before any other process of ours."""


def confine_this_process(confinement: Confinement) -> None:
    """Bound open files, leave no core dumps, and be the first to go when the machine is out of memory.

    What this process starts inherits all three. Memory and the number of processes are not bounded here: address space
    is no measure of memory, and the kernel counts processes by user, not by replica, and root's not at all.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = confinement.open_files if hard == resource.RLIM_INFINITY else min(confinement.open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE)
