"""Control groups (cgroup v2): memory and process caps that the kernel itself keeps, where they were left to us.

A cgroup may be divided further only by whom it was delegated to. So ours is used if it bears systemd's mark of that
(`Delegate=yes` in a unit), or is the root of a container's own tree, and if it can be written. Its processes, this one
among them, move into a leaf `supervisor`, because a cgroup whose children have caps may hold none itself; each replica
process gets a leaf of its own.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from penstock.domain.confinement import MIB, Confinement, Usage

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_CONTROLLERS = frozenset(("memory", "pids"))
_MARKS = ("trusted.delegate", "user.delegate")
_LEAF = "supervisor"
_PREFIX = "replica-"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is seen of the cgroup that this process is in."""

    path: str | None
    """Below the mounted tree; None if there is no cgroup v2."""
    controllers: frozenset[str] = frozenset()
    is_writable: bool = False
    is_marked: bool = False
    is_bounded: bool = False
    """It has a memory bound of its own to set, which the root of a machine's whole tree does not have."""


def obstacle(facts: Facts) -> str | None:
    """Why the cgroup cannot be divided, if it cannot."""
    if facts.path is None:
        return "there is no cgroup v2"
    if missing := sorted(_CONTROLLERS - facts.controllers):
        return f"cgroup {facts.path} has no controller for {' and '.join(missing)}"
    if not (facts.is_marked or (facts.path == "/" and facts.is_bounded)):
        return f"cgroup {facts.path} was not delegated (systemd: Delegate=yes)"
    if not facts.is_writable:
        return f"cgroup {facts.path} cannot be written"
    return None


def own_facts() -> Facts:
    """What is seen of this process's cgroup."""
    path = _own_path()
    if path is None:
        return Facts(None)
    folder = _ROOT / path.lstrip("/")
    files = (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control")
    return Facts(
        path,
        frozenset(_read(folder / "cgroup.controllers").split()),
        all(os.access(file, os.W_OK) for file in files),
        any(_attribute(folder, mark) == b"1" for mark in _MARKS),
        (folder / "memory.max").exists(),
    )


def memory_bound_bytes() -> int | None:
    """The least that this process's cgroup, or one above it, lets it have; None if there is no bound."""
    path = _own_path()
    if path is None:
        return None
    folder = _ROOT / path.lstrip("/")
    bounds = (_read(step / "memory.max").strip() for step in (folder, *folder.parents) if step.is_relative_to(_ROOT))
    return min((int(bound) for bound in bounds if bound.isdigit()), default=None)


class Cgroups:
    """The leaves of replicas below one cgroup that was left to us."""

    def __init__(self, folder: Path) -> None:
        """Divide the cgroup.

        Raises:
            OSError: it cannot be.
        """
        self._folder = folder
        (folder / _LEAF).mkdir(exist_ok=True)
        for pid in _read(folder / "cgroup.procs").split():
            with contextlib.suppress(ProcessLookupError):
                (folder / _LEAF / "cgroup.procs").write_text(pid)
        for name in sorted(_CONTROLLERS):
            (folder / "cgroup.subtree_control").write_text(f"+{name}")

    def confine(self, pid: int, confinement: Confinement) -> None:
        """Put a replica's process into a leaf of its own.

        Raises:
            OSError: it cannot be done; the process is where it was.
        """
        leaf = self._leaf(pid)
        leaf.mkdir(exist_ok=True)
        if confinement.memory_mb is not None:
            (leaf / "memory.max").write_text(str(confinement.memory_mb * MIB))
            with contextlib.suppress(OSError):  # a kernel without accounting of swap
                (leaf / "memory.swap.max").write_text("0")
            (leaf / "memory.oom.group").write_text("1")
        (leaf / "pids.max").write_text(str(confinement.tasks))
        (leaf / "cgroup.procs").write_text(str(pid))

    def usage(self, pid: int, at_s: float) -> Usage | None:
        """What the replica uses; None if it is not in its leaf.

        Pages of files, which the kernel drops when it needs to, are not counted.
        """
        leaf = self._leaf(pid)
        memory = dict(line.split() for line in _read(leaf / "memory.stat").splitlines())
        tasks = int(_read(leaf / "pids.current") or 0)
        if not tasks:
            return None
        return Usage(sum(int(memory.get(name, 0)) for name in ("anon", "shmem", "kernel")), tasks, at_s)

    def oom_kills(self, pid: int) -> int:
        """How many of the replica's processes the kernel has killed because they were past the cap."""
        events = dict(line.split() for line in _read(self._leaf(pid) / "memory.events").splitlines())
        return int(events.get("oom_kill", 0))

    def kill(self, pid: int) -> None:
        """End whatever is left in a replica's leaf, and take the leaf away if nothing is."""
        with contextlib.suppress(OSError):
            (self._leaf(pid) / "cgroup.kill").write_text("1")

    def sweep(self) -> None:
        """Take away leaves in which nothing is left."""
        for leaf in self._folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                leaf.rmdir()

    def _leaf(self, pid: int) -> Path:
        return self._folder / f"{_PREFIX}{pid}"


def divided_cgroup() -> tuple[Cgroups | None, str | None]:
    """This process's cgroup, divided; or why it cannot be."""
    facts = own_facts()
    if (why := obstacle(facts)) is not None or facts.path is None:
        return None, why
    try:
        return Cgroups(_ROOT / facts.path.lstrip("/")), None
    except OSError as exc:
        return None, f"cgroup {facts.path} cannot be divided: {exc.strerror}"


def _own_path() -> str | None:
    for line in _read(_OWN).splitlines():
        number, _, path = line.split(":", 2)
        if number == "0" and (_ROOT / "cgroup.controllers").exists():
            return path
    return None


def _attribute(folder: Path, name: str) -> bytes:
    try:
        return os.getxattr(folder, name)
    except OSError:
        return b""


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
