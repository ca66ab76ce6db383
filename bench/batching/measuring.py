"""What a command costs: with all processes that it starts, a JVM and the workers of that included.

The bench is the reaper of orphans, so that every process that a command leaves behind is its own child in the end, and
the kernel tells what each has spent. Memory is sampled: pages that processes share are divided among them.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_EVERY_S = 0.2


@dataclass(frozen=True)
class Cost:
    """What a command came to."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


class Failed(Exception):
    """A command did not end well."""


def become_reaper() -> None:
    """Orphans of commands become children of this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def cost_of(command: list[str], timeout_s: float, env: dict[str, str]) -> Cost:
    """Run a command, and what it costs until none of its processes is left.

    Raises:
        Failed: it ended otherwise than with 0, or took longer than it may.
    """
    watch = _Memory()
    spent_before = os.times()
    started_s = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    watch.start()
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise Failed(f"{' '.join(command)}: not done after {timeout_s:.0f} s: {errors[-2000:]}") from None
    finally:
        wall_s = time.monotonic() - started_s
        watch.end()
        _reap()
    if process.returncode:
        raise Failed(f"{' '.join(command)}: exit code {process.returncode}: {errors[-2000:]}")
    spent = os.times()
    cpu_s = spent.children_user + spent.children_system - spent_before.children_user - spent_before.children_system
    return Cost(wall_s, cpu_s, watch.peak_bytes / 2**20, output)


def _reap() -> None:
    """End what a command has left, and count it."""
    for orphan in psutil.Process().children():
        if orphan.status() != psutil.STATUS_ZOMBIE:
            orphan.send_signal(signal.SIGTERM)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


class _Memory(threading.Thread):
    """Looks at what all descendants of this process hold, now and then."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, sum(_held()))

    def end(self) -> None:
        self._ended.set()
        self.join()


def _held() -> Iterator[int]:
    for process in psutil.Process().children(recursive=True):
        try:
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except OSError:
            continue
        yield sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))


if sys.platform != "linux":
    raise SystemExit("this bench is for Linux")
