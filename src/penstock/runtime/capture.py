"""What children print: captured from a pipe, capped, rotated.

A log is a file and at most one older part of it (`.1`); each holds at most `MAX_LOG_BYTES`. A full disk loses lines,
never a process: writing fails silently and is tried again with the next piece.
"""

import asyncio
import contextlib
import os
from pathlib import Path

MAX_LOG_BYTES = 8 << 20
_READ_BYTES = 64 << 10
_MAX_PIPE_BYTES = 1 << 20
"""What an unprivileged process may make a pipe hold."""


class CappedLog:
    """A file that starts anew when it is full and keeps one older part."""

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def write(self, data: bytes) -> None:
        """Append; rotate first if the file is full."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_size + len(data) > self._max_bytes:
                    self._path.replace(self._path.with_name(self._path.name + ".1"))
            with self._path.open("ab") as file:
                file.write(data)


def read_log(path: Path, max_bytes: int) -> str:
    """The last `max_bytes` of a log, its older part included; empty if there is none."""
    data = b""
    for part in (path.with_name(path.name + ".1"), path):
        with contextlib.suppress(FileNotFoundError):
            data += part.read_bytes()
    return data[-max_bytes:].decode("utf-8", "replace")


class Capture:
    """Reads one child's output from a pipe into its current log."""

    def __init__(self, log: CappedLog) -> None:
        self.log = log
        """Where output goes; may be replaced while the child runs."""
        self._read_end, self.write_end = os.pipe()
        """The child's stdout and stderr; to be closed here once the child has it."""
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self._read)
        self._is_open = True

    def _read(self) -> bool:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        self.log.write(data)
        return True

    def finish(self) -> None:
        """The child is dead: take what is left in the pipe and close it, whoever else may still be writing to it."""
        for _ in range(_MAX_PIPE_BYTES // _READ_BYTES):
            if not self._is_open or not self._read():
                break
        self._close()

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
