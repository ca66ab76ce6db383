"""The bond between a child process and the supervisor, seen from both ends.

A child dies with its supervisor: on Linux the kernel kills it (`PR_SET_PDEATHSIG`). Grandchildren whose parents died
come back to the supervisor (`PR_SET_CHILD_SUBREAPER`), which reaps them. Elsewhere both calls do nothing, and a
supervisor that is killed hard leaves its children to the next start, which ends them.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies; end at once if it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent_pid:
        sys.exit(f"the supervisor (pid {parent_pid}) is gone")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, argument: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
