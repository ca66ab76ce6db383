"""Segments: the files of a spool, numbered in the order in which they were begun. One process writes one at a time.

A segment that is being written is locked (`flock`), so that whoever empties a spool can see that more may come. The
lock goes with its process. So does that on the file `writer`, which tells the number that the process drew for itself:
while it is held, a stream that began in a segment of that process may still end.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"([0-9]{10})\.spool")
_CLAIM = "writer"
_LOCK_TRIES = 100
_LOCK_PAUSE_S = 0.005


def segments(folder: Path) -> list[Path]:
    """The segments of a folder, the oldest first."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    return []


def size_bytes(folder: Path) -> int:
    """How much disk the segments of a folder take."""
    total = 0
    for path in segments(folder):
        with contextlib.suppress(FileNotFoundError):  # emptied just now
            total += path.stat().st_size
    return total


def begin_segment(folder: Path, after: int = 0) -> tuple[int, int]:
    """A descriptor of a new segment, locked, for appending, and its number: after all that there are, and `after`.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    existing = segments(folder)
    number = max(after, int(existing[-1].stem) if existing else 0) + 1
    descriptor = os.open(folder / f"{number:010d}.spool", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor, number


def claim(folder: Path, writer: bytes) -> int:
    """Say that a process writes here, as long as the descriptor that this returns is open.

    Raises:
        OSError: it cannot be said, or another process does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _CLAIM, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        os.pwrite(descriptor, writer.hex().encode(), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int) -> None:
    """Whoever looks whether the lock is held holds it for that moment."""
    for tries_left in reversed(range(_LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not tries_left:
                raise
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


def living_writer(folder: Path) -> str | None:
    """The number of the process that writes here; None if none does."""
    try:
        with (folder / _CLAIM).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode("ascii", "replace")
    except FileNotFoundError:
        pass
    return None


def end_segment(descriptor: int, close: Callable[[int], object] | None = None) -> None:
    """Let others see that a segment has ended, and close it, or have it closed once the disk has it."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    if close is not None:
        close(descriptor)
        return
    with contextlib.suppress(OSError):  # written is what was written; a close has nothing to add
        os.close(descriptor)


def is_being_written(path: Path) -> bool:
    """Whether a process still appends to a segment."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
