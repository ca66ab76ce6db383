"""The warden: looks after what replicas use of the machine, and ends those that go past their limits.

Every replica process is looked at by a task of its own, from when it has an id until it is gone. Where a cgroup was
left to us the kernel keeps memory and the number of processes within their limits, and a look only tells how much there
is; elsewhere the looks are what keeps them. One that leaks is renewed between requests, before it has to be killed.
"""

import asyncio
import logging
import signal
import time
from dataclasses import dataclass, field

from penstock.domain.confinement import MIB, RAREST_S, Confinement, Growth, Usage, excess, look_again_s, oom
from penstock.domain.replica import ReplicaState
from penstock.runtime import footprint
from penstock.runtime.cgroups import Cgroups, divided_cgroup
from penstock.runtime.footprint import Member
from penstock.runtime.tree import Child, ProcessTree

_KERNEL_CHECK_S = 1.0
_MEASURE_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Ward:
    """One process of a child, and what was seen of it."""

    child: Child
    pid: int
    confinement: Confinement
    members: frozenset[Member] = frozenset()
    latest: Usage | None = None
    growth: Growth | None = None
    """Since it became ready."""
    measuring: asyncio.Future[tuple[int, float]] | None = field(default=None, repr=False)
    """An exact measurement that has not ended."""
    cost_s: float = 0.0
    """Processor time of the last look."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_current(self) -> bool:
        return self.child.pid == self.pid

    def is_near(self, used_bytes: int) -> bool:
        """Whether it matters how much of this is shared with others: it may be too much, or the mark to go by."""
        cap_mb = self.confinement.memory_mb
        if cap_mb is None:
            return False
        if self.growth is None:
            return self.child.state is ReplicaState.READY or used_bytes > cap_mb * MIB
        return used_bytes > self.growth.watermark_mb(cap_mb) * MIB


class Warden:
    """Looks after all children that are confined."""

    def __init__(self, tree: ProcessTree) -> None:
        """Divide our cgroup, if that is possible."""
        self._tree = tree
        self._wards: dict[str, _Ward] = {}
        self._cgroups, self._why_no_cgroups = divided_cgroup()
        self._kernel_kills = footprint.kernel_oom_kills()
        self._kernel_checked_s = 0.0

    @property
    def method(self) -> str:
        """How caps are kept, in words."""
        return method(self._why_no_cgroups)

    def attend(self) -> None:
        """Look after every process that is new."""
        for child in self._tree:
            ward = self._wards.get(child.plan.name)
            if child.plan.confinement is None or child.pid is None or (ward is not None and ward.pid == child.pid):
                continue
            ward = self._wards[child.plan.name] = _Ward(child, child.pid, child.plan.confinement)
            if self._cgroups is not None:
                self._confine(self._cgroups, ward)
            ward.task = asyncio.get_running_loop().create_task(self._watch(ward), name=f"warden of {child.plan.name}")

    def bury(self, child: Child, exit_code: int) -> str | None:
        """End what a child's process has left behind; say why it died, if that is known here and nowhere else."""
        ward = self._wards.pop(child.plan.name, None)
        if ward is None or not ward.is_current:
            return None
        if ward.task is not None:
            ward.task.cancel()
        footprint.kill(footprint.family(ward.pid, self._adopted(), ward.members))
        cap_mb = ward.confinement.memory_mb
        used_mb = ward.latest.memory_mb if ward.latest is not None else 0
        if self._cgroups is not None:
            was_capped = self._cgroups.oom_kills(ward.pid) > 0
            self._cgroups.kill(ward.pid)
            if was_capped and cap_mb is not None:
                return oom(max(used_mb, cap_mb), cap_mb, ward.confinement)
        before, self._kernel_kills = self._kernel_kills, footprint.kernel_oom_kills()
        if exit_code == -signal.SIGKILL and self._kernel_kills > before:
            of = "" if cap_mb is None else f" of {cap_mb}"
            subject = ward.confinement.subject
            return f"OOM at {used_mb}{of} MB: the kernel ended the {subject}, because the machine had no memory left."
        return None

    def close(self) -> None:
        """Look no more."""
        for ward in self._wards.values():
            if ward.task is not None:
                ward.task.cancel()

    def _confine(self, cgroups: Cgroups, ward: _Ward) -> None:
        cgroups.sweep()
        try:
            cgroups.confine(ward.pid, ward.confinement)
        except OSError as exc:
            _log.error("%s (pid %d) is not in a cgroup of its own: %s", ward.child.plan.name, ward.pid, exc)

    async def _watch(self, ward: _Ward) -> None:
        name = ward.child.plan.name
        while ward.is_current:
            ward.cost_s = 0.0
            usage = await self._look(ward)
            if usage is None or not ward.is_current:
                return
            ward.latest = usage
            if (reason := excess(usage, ward.confinement)) is not None:
                self._tree.recycle(name, ward.pid, reason)
                return
            if ward.child.state is ReplicaState.READY:
                ward.growth = ward.growth.seen(usage) if ward.growth is not None else Growth(usage)
                if (reason := ward.growth.leak(ward.confinement)) is not None:
                    self._tree.renew(name, ward.pid, reason)
            is_kept_by_kernel = self._cgroups is not None
            await asyncio.sleep(RAREST_S if is_kept_by_kernel else look_again_s(usage, ward.confinement, ward.cost_s))

    async def _look(self, ward: _Ward) -> Usage | None:
        """What a replica uses; None if it is gone."""
        now_s = time.monotonic()
        if now_s - self._kernel_checked_s > _KERNEL_CHECK_S:
            self._kernel_checked_s = now_s
            self._kernel_kills = footprint.kernel_oom_kills()
        if self._cgroups is not None and (usage := self._cgroups.usage(ward.pid, now_s)) is not None:
            return usage
        began_s = time.thread_time()
        ward.members = footprint.family(ward.pid, self._adopted(), ward.members)
        if not ward.members:
            return None
        used_bytes, tasks = footprint.at_most(ward.members)
        ward.cost_s = time.thread_time() - began_s
        if tasks <= ward.confinement.tasks and ward.is_near(used_bytes):
            measured_bytes = await self._measured(ward)
            if measured_bytes is None:
                return Usage(ward.latest.memory_bytes if ward.latest is not None else 0, tasks, now_s)
            used_bytes = measured_bytes
        return Usage(used_bytes, tasks, now_s)

    async def _measured(self, ward: _Ward) -> int | None:
        """What a replica uses exactly; None if that is not known within a second.

        In a thread: it takes long for much memory, and it waits while the replica changes its mappings, as in a fork.
        """
        if ward.measuring is None:
            ward.measuring = asyncio.get_running_loop().run_in_executor(None, _timed, ward.members)
        await asyncio.wait({ward.measuring}, timeout=_MEASURE_S)
        if not ward.measuring.done():
            return None
        used_bytes, cost_s = ward.measuring.result()
        ward.measuring = None
        ward.cost_s += cost_s
        return used_bytes

    def _adopted(self) -> list[Member]:
        return footprint.adopted({child.pid for child in self._tree if child.pid is not None})


def _timed(members: frozenset[Member]) -> tuple[int, float]:
    """What processes use, and the processor time that it took to find out."""
    began_s = time.thread_time()
    return footprint.exactly(members), time.thread_time() - began_s


def method(why_no_cgroups: str | None) -> str:
    """How caps are kept, in words."""
    if why_no_cgroups is None:
        return "kept by the kernel, in cgroups"
    if footprint.is_readable():
        return f"kept by the supervisor, which looks a few times a second ({why_no_cgroups})"
    return "not kept: this system has no /proc/<pid>/smaps_rollup"
