"""Cgroups: when they are ours to divide, and what is written where; in a folder of plain files."""

from pathlib import Path

import pytest

from penstock.domain.confinement import Confinement, Usage
from penstock.runtime.cgroups import Cgroups, Facts, obstacle

OURS = Facts("/system.slice/penstock.service", frozenset(("cpu", "memory", "pids")), True, True, True)
CONTAINER = Facts("/", frozenset(("memory", "pids")), is_writable=True, is_bounded=True)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (OURS, None),
        (CONTAINER, None),
        (Facts(None), "there is no cgroup v2"),
        (Facts("/a", frozenset(("pids",)), True, True, True), "no controller for memory"),
        (Facts("/user.slice", OURS.controllers, True, False, True), "was not delegated"),
        (Facts("/", OURS.controllers, is_writable=True), "was not delegated"),
        (Facts("/", OURS.controllers, is_bounded=True), "cannot be written"),
    ],
)
def test_a_cgroup_is_divided_only_if_it_was_left_to_us(facts: Facts, why: str | None) -> None:
    assert (obstacle(facts) is None) if why is None else why in str(obstacle(facts))


def test_a_replica_gets_a_leaf_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("10\n11\n")
    cgroups = Cgroups(tmp_path)
    assert (tmp_path / "supervisor" / "cgroup.procs").read_text() == "11"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
    cgroups.confine(77, Confinement(100, 50))
    leaf = tmp_path / "replica-77"
    written = {file.name: file.read_text() for file in leaf.iterdir()}
    assert written == {
        "memory.max": str(100 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "50",
        "cgroup.procs": "77",
    }
    assert cgroups.usage(77, 1.5) is None
    (leaf / "memory.stat").write_text("anon 1000\nfile 5000\nkernel 20\nshmem 300\n")
    (leaf / "pids.current").write_text("3\n")
    assert cgroups.usage(77, 1.5) == Usage(1320, 3, 1.5)
    assert cgroups.oom_kills(77) == 0
    (leaf / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 1\n")
    assert cgroups.oom_kills(77) == 1
    cgroups.kill(77)
    assert (leaf / "cgroup.kill").read_text() == "1"
    for file in leaf.iterdir():
        file.unlink()
    cgroups.sweep()
    assert not leaf.exists()
    cgroups.kill(77)


def test_without_a_cap_the_memory_is_left_alone(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path)
    cgroups.confine(5, Confinement(None, 9))
    assert {file.name for file in (tmp_path / "replica-5").iterdir()} == {"pids.max", "cgroup.procs"}
