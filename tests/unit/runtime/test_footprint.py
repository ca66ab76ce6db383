"""What is read of real processes: their memory, their families, and that only they are killed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from penstock.runtime import footprint
from penstock.runtime.footprint import Member

_MB = 1 << 20
FATHER = """
import os, subprocess, sys, time
kept = b"x" * (40 << 20)
CODE = "import time; kept = b'y' * (30 << 20); print(1, flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", CODE], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.read(1)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def father() -> Iterator[tuple[int, int]]:
    """A process and its child, which has left the session."""
    process = subprocess.Popen([sys.executable, "-c", FATHER], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process.pid, child
    process.kill()
    process.communicate()
    if psutil.pid_exists(child):
        os.kill(child, 9)


def test_a_family_is_known_with_its_memory(father: tuple[int, int]) -> None:
    members = footprint.family(father[0], [], frozenset())
    assert {member.pid for member in members} == set(father)
    upper, tasks = footprint.at_most(members)
    exact = footprint.exactly(members)
    assert tasks == 2
    assert 70 * _MB < exact < 110 * _MB
    assert exact <= upper + _MB


def test_an_orphan_that_was_known_or_is_in_the_session_belongs_to_the_family(father: tuple[int, int]) -> None:
    pid, child = father
    (known,) = (member for member in footprint.family(pid, [], frozenset()) if member.pid == child)
    stranger = Member(os.getpid(), 1)
    assert footprint.family(_ended(), [known, stranger], frozenset([known])) == {known}
    assert footprint.family(child, [], frozenset()) == {known}
    assert pid in {member.pid for member in footprint.adopted([])}
    assert pid not in {member.pid for member in footprint.adopted([pid])}


def _ended() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_the_process_that_was_meant_is_killed(father: tuple[int, int]) -> None:
    members = footprint.family(father[0], [], frozenset())
    footprint.kill([Member(member.pid, member.started + 1) for member in members])
    time.sleep(0.05)
    assert all(psutil.pid_exists(pid) for pid in father)
    footprint.kill(members)
    _, alive = psutil.wait_procs([psutil.Process(father[1])], timeout=5)
    assert alive == []


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert footprint.family(process.pid, [], frozenset()) == frozenset()
    assert footprint.children(process.pid) == []
    assert footprint.at_most([Member(process.pid, 1)]) == (0, 0)
    assert footprint.exactly([Member(process.pid, 1)]) == 0
