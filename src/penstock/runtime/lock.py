"""The lock of a home folder: held by its one supervisor for as long as that lives, however it dies."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def lock(file: Path) -> Iterator[None]:
    """Hold the lock.

    Raises:
        Locked: another process does.
    """
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(str(file)) from None
        yield


def is_locked(file: Path) -> bool:
    """Whether any process holds the lock."""
    if not file.exists():
        return False
    try:
        with lock(file):
            return False
    except Locked:
        return True
