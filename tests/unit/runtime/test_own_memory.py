"""The memory that a process holds for itself."""

import sys

import pytest

from penstock.runtime.own_memory import own_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
_SIZE = 64 << 20


def test_what_was_held_and_let_go_counts_at_most_and_not_now() -> None:
    before = own_memory()
    block = bytearray(_SIZE)
    block[::4096] = b"x" * len(block[::4096])
    held = own_memory()
    del block
    after = own_memory()
    assert before is not None
    assert held is not None
    assert after is not None
    assert held.bytes - before.bytes > 0.9 * _SIZE
    assert held.bytes - after.bytes > 0.9 * _SIZE
    assert after.peak_bytes - after.bytes > 0.9 * _SIZE
