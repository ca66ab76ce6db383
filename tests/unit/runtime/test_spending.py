"""Processor time and memory of a family of processes."""

import subprocess
import sys

import pytest

from penstock.runtime.spending import MachineTime, cpu_s_of, memory_bytes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is told by Linux alone")
_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""
_CHILD = """
import sys, time
held = b"x" * (64 << 20)
while time.process_time() < 0.3: pass
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_child_spends_counts_for_its_parent() -> None:
    command = [sys.executable, "-c", _PARENT, _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_s_of([parent.pid]) >= 0.28
        assert (memory_bytes_of([parent.pid]) or 0) > 64 << 20
        assert cpu_s_of([parent.pid, parent.pid]) < 2 * cpu_s_of([parent.pid])
        parent.communicate()
    assert cpu_s_of([parent.pid]) == 0
    assert memory_bytes_of([parent.pid]) == 0


def test_how_busy_a_machine_was() -> None:
    assert MachineTime(13, 30).busy_share_since(MachineTime(10, 20)) == 0.3
    assert MachineTime(1, 1).busy_share_since(MachineTime(1, 1)) == 0
