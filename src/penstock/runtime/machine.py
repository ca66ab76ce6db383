"""What the machine has that replicas can be given: cores, memory, GPUs."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psutil

from penstock.domain.confinement import MIB
from penstock.domain.limits import Machine
from penstock.runtime.cgroups import memory_bound_bytes

_ASK_TIMEOUT_S = 10.0


def this_machine() -> Machine:
    """Cores, memory and GPUs. Of a container that may use less memory than the machine has, its bound counts."""
    amounts = [psutil.virtual_memory().total, memory_bound_bytes()]
    return Machine(os.cpu_count() or 1, min(amount for amount in amounts if amount is not None) // MIB, _gpus())


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    """Count NVIDIA's device files, one for each GPU; where there are none, ask the driver's tool."""
    found = sum(device.name.removeprefix("nvidia").isdigit() for device in Path("/dev").glob("nvidia*"))
    tool = shutil.which("nvidia-smi")
    if found or tool is None:
        return found
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(  # noqa: S603 - found on the path, arguments of our own
            [tool, "-L"], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=True
        )
        return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return 0
