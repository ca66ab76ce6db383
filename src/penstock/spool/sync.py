"""Has the disk itself take what was written, from a thread: the loop never waits for that.

After a write the thread waits for the interval, so that everything written meanwhile is taken care of at once, and asks
the kernel for `fdatasync`. What was written longer ago than the interval and the time that the disk needs for two of
these is safe from a loss of power. While nothing is written the thread sleeps.
"""

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

_CLOSE_TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


class Syncer:
    """The thread of one spool. It closes the segments that have ended, for it may be at work on them."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._has_work = False
        self._current: int | None = None
        self._ended: deque[int] = deque()
        self._new_folders: deque[Path] = deque()
        self._thread: threading.Thread | None = None
        self.failures = 0
        """How often the disk could not take what the kernel had taken."""

    def begin(self, descriptor: int, folder: Path) -> None:
        """A segment was begun; its folder is to remember it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sync the spool", daemon=True)
            self._thread.start()
        self._current = descriptor
        self._new_folders.append(folder)

    def note_write(self) -> None:
        """The segment was written to. Costs next to nothing if it was a moment ago as well."""
        if not self._has_work:
            self._has_work = True
            self._work.set()

    def end(self, descriptor: int) -> None:
        """Nothing more will be written to a segment: it is closed once the disk has it."""
        self._current = None
        self._ended.append(descriptor)
        self.note_write()

    def close(self) -> None:
        """Once the disk has everything, or has taken too long."""
        self._stopping.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.wait()
            self._stopping.wait(self._interval_s)
            self._work.clear()
            self._has_work = False  # whatever is written from here on asks anew
            self._sync_all()
        self._sync_all()

    def _sync_all(self) -> None:
        current = self._current  # may end meanwhile, but is closed by this thread only, and later
        while self._ended:
            descriptor = self._ended.popleft()
            self._sync(os.fdatasync, descriptor)
            with contextlib.suppress(OSError):  # written is what was written; a close has nothing to add
                os.close(descriptor)
            if descriptor == current:
                current = None
        if current is not None:
            self._sync(os.fdatasync, current)
        while self._new_folders:
            self._sync_folder(self._new_folders.popleft())

    def _sync_folder(self, folder: Path) -> None:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as exc:
            self._note_failure(exc)
            return
        self._sync(os.fsync, descriptor)
        os.close(descriptor)

    def _sync(self, sync: Callable[[int], None], descriptor: int) -> None:
        try:
            sync(descriptor)
        except OSError as exc:
            self._note_failure(exc)

    def _note_failure(self, cause: OSError) -> None:
        self.failures += 1
        _log.error("the disk has not taken what was logged; a loss of power may lose it: %s", cause)
