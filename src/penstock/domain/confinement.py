"""What one replica may use of the machine, and what is to be done when it uses more.

A replica is its process and all that it started. It is looked at a few times a second, more often the closer it is to
its cap, so that it cannot fill what is left between two looks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock.domain.limits import Limits
from penstock.domain.sizing import WorkloadType

MEMORY = "PENSTOCK_MEMORY_LIMIT_MB"
TASKS = "PENSTOCK_PROCESS_LIMIT"
FILES = "PENSTOCK_FILE_LIMIT"
RANGES = {MEMORY: (64, 16 << 20), TASKS: (16, 1_000_000), FILES: (64, 1_000_000)}
"""What each of these variables may hold, the least and the most."""

MIB = 1 << 20
TYPE_MEMORY_MB = {WorkloadType.CPU: 4096, WorkloadType.CPU_MEDIUM: 8192, WorkloadType.CPU_LARGE: 16384}
"""What a replica of a CPU type may use unless it is said otherwise; a GPU type may use what the machine has."""
_LEAST_MEMORY_MB = 256
_RESERVED_SHARE = 0.1
_RESERVED_MB = 512

_FILL_BYTES_PER_S = 2 << 30
"""How fast a process can make memory its own: about twice what one core was seen to do."""
_OFTENEST_S = 0.05
_FORKS_PER_S = 500
"""How fast a replica can start processes: a fork of one costs some milliseconds."""
RAREST_S = 0.5
"""How often a replica is looked at when nothing is near its limit."""
_LOOKING_SHARE = 0.02
"""Of a core, what looking at one replica may cost, unless it is so dear that it would not be looked at for a second."""
_DEAREST_S = 1.0

_LEAK_SHARE = 0.8
LEAK_FOR_S = 1.0
"""Memory that is not given back in this time is taken for a leak."""


@dataclass(frozen=True, slots=True)
class Confinement:
    """The limits of one replica."""

    memory_mb: int | None = None
    """Of 2**20 bytes; None for no cap."""
    tasks: int = 512
    """Processes and threads, counted together, as cgroups count them."""
    open_files: int = 4096
    """Descriptors of one process."""
    subject: str = "replica"
    """What is confined, for messages."""
    setting: str = MEMORY
    """By which its memory is set, for messages."""
    tasks_setting: str = TASKS
    """By which its number of processes is set, for messages."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a replica was seen to use."""

    memory_bytes: int
    tasks: int
    at_s: float = 0.0
    """When, by a clock that never goes back."""

    @property
    def memory_mb(self) -> int:
        """Rounded up, so that what is over a cap never looks like the cap."""
        return math.ceil(self.memory_bytes / MIB)


def confinement_of(environment: Mapping[str, str], workload_type: WorkloadType, limits: Limits) -> Confinement:
    """What a served entity says of itself, else what the stack says, else what its type of workload stands for.

    Only the last is bounded by the machine: what somebody asked for holds as it was said.
    """
    memory_mb = limits.memory_limit_mb
    if memory_mb is None:
        memory_mb = _least(TYPE_MEMORY_MB.get(workload_type), machine_share_mb(limits.memory_mb))
    if MEMORY in environment:
        memory_mb = int(environment[MEMORY])
    return Confinement(
        memory_mb,
        int(environment.get(TASKS, limits.process_limit)),
        int(environment.get(FILES, limits.file_limit)),
    )


def excess(usage: Usage, confinement: Confinement) -> str | None:
    """Why a replica is to be ended at once, if it is."""
    if usage.tasks > confinement.tasks:
        return (
            f"The {confinement.subject} was ended: it had {usage.tasks} processes and threads, of {confinement.tasks} "
            f"that {confinement.tasks_setting} allows."
        )
    cap_mb = confinement.memory_mb
    if cap_mb is not None and usage.memory_bytes > cap_mb * MIB:
        return oom(usage.memory_mb, cap_mb, confinement)
    return None


def oom(used_mb: int, cap_mb: int, confinement: Confinement) -> str:
    """What is said of what was ended because it used more memory than it may."""
    return (
        f"OOM at {used_mb} of {cap_mb} MB: the {confinement.subject} was ended, because {confinement.setting} allows "
        "it no more memory."
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """How a replica's memory has grown since it became ready.

    Memory that comes and goes with requests is no leak. So what counts is the least that was seen in the last second,
    and of the room only that which was left when the replica became ready: a model that fills most of its cap from the
    beginning is not replaced again and again.
    """

    at_ready: Usage
    recent: tuple[Usage, ...] = ()

    def seen(self, usage: Usage) -> "Growth":
        """With what was seen now."""
        kept = tuple(old for old in self.recent if old.at_s >= usage.at_s - LEAK_FOR_S)
        return replace(self, recent=(*kept, usage))

    def watermark_mb(self, cap_mb: int) -> float:
        """What the replica should stay below."""
        return self.at_ready.memory_mb + _LEAK_SHARE * (cap_mb - self.at_ready.memory_mb)

    def leak(self, confinement: Confinement) -> str | None:
        """Why the replica is to be replaced once it has finished what it works on, if it is."""
        cap_mb = confinement.memory_mb
        if cap_mb is None or not self.recent or self.recent[-1].at_s - self.at_ready.at_s < LEAK_FOR_S:
            return None
        least_mb = min(usage.memory_mb for usage in self.recent)
        if least_mb <= self.watermark_mb(cap_mb):
            return None
        return (
            f"The replica was replaced before it ran out of memory: it had grown from {self.at_ready.memory_mb} to "
            f"{least_mb} MB, of {cap_mb} that {MEMORY} allows."
        )


def look_again_s(usage: Usage, confinement: Confinement, cost_s: float) -> float:
    """When to look at a replica next: before it can have filled what is left, and never at a high price.

    Args:
        usage: what it uses now, at most.
        confinement: its limits.
        cost_s: what this look has cost, in processor time.
    """
    soon_s = min((confinement.tasks - usage.tasks) / _FORKS_PER_S, RAREST_S)
    if confinement.memory_mb is not None:
        soon_s = min((confinement.memory_mb * MIB - usage.memory_bytes) / _FILL_BYTES_PER_S, soon_s)
    return max(soon_s, _OFTENEST_S, min(cost_s / _LOOKING_SHARE, _DEAREST_S))


def machine_share_mb(machine_mb: int | None) -> int | None:
    """What replicas, one or all of them, may have of the machine, so that they cannot take it down."""
    if machine_mb is None:
        return None
    return max(machine_mb - max(int(machine_mb * _RESERVED_SHARE), _RESERVED_MB), _LEAST_MEMORY_MB)


def _least(*amounts: int | None) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return min(known, default=None)
