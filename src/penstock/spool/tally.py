"""How many requests left without being logged, for each endpoint: exact, and still there after the process.

The counts cannot go to disk as records do, for it is when the disk is full that there is something to count. So a file
of a fixed size is laid out ahead, beside the segments, and mapped into memory: to count is to change a number there,
which the kernel keeps when the process dies. While no such file can be had, counts are kept in memory, and moved into
it later. `docs/spool-format.md` tells its bytes.
"""

import contextlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

NAME = "not-logged"
MAX_ENDPOINTS = 4096
"""Further ones are counted together, under the empty id."""
_MAGIC = b"PENTALLY"
_HEAD = struct.Struct("<8sH6x")
_ENTRY = struct.Struct("<32sQ")
_SIZE_BYTES = _HEAD.size + MAX_ENDPOINTS * _ENTRY.size
_VERSION = 1


class Tally:
    """The counts of one process's spool; they only grow, from process to process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._map: mmap.mmap | None = None
        self._places: dict[str, int] = {}
        """Where in the file each endpoint's entry is."""
        self._unplaced: Counter[str] = Counter()
        """What was counted while there was no file."""

    def open(self) -> None:
        """Lay the file out, or take up the one that is there; does nothing if it is open already, or cannot be had."""
        if self._map is None:
            with contextlib.suppress(OSError):
                self._map = _mapped(self._path)
        if self._map is None:
            return
        self._places = {endpoint: at for endpoint, _, at in _entries(self._map)}
        unplaced, self._unplaced = self._unplaced, Counter()
        for endpoint, count in unplaced.items():
            self.add(endpoint, count)

    def add(self, endpoint_id: str, count: int) -> None:
        """So many more requests to an endpoint were not logged."""
        if self._map is None:
            self._unplaced[endpoint_id] += count
            return
        at = self._places.get(endpoint_id)
        if at is None:
            at = self._new_place(self._map, endpoint_id)
        name, before = _ENTRY.unpack_from(self._map, at)
        _ENTRY.pack_into(self._map, at, name, before + count)

    def counts(self) -> dict[str, int]:
        """All of them, by endpoint."""
        return dict(self._unplaced) if self._map is None else {name: count for name, count, _ in _entries(self._map)}

    def unplaced(self) -> dict[str, int]:
        """What is counted in memory alone."""
        return dict(self._unplaced)

    def close(self) -> None:
        """Count no more."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _new_place(self, entries: mmap.mmap, endpoint_id: str) -> int:
        index = len(self._places)
        if index >= MAX_ENDPOINTS - 1:
            endpoint_id = ""
        at = self._places.get(endpoint_id)
        if at is None:
            at = self._places[endpoint_id] = _HEAD.size + index * _ENTRY.size
            _ENTRY.pack_into(entries, at, _encoded(endpoint_id), 0)
        return at


def not_logged(spool: Path) -> Counter[str]:
    """How many requests to each endpoint were not logged, by all processes that have a spool in this folder."""
    total: Counter[str] = Counter()
    for path in spool.glob(f"*/{NAME}"):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if _is_ours(content):
                total.update({endpoint: count for endpoint, count, _ in _entries(content)})
    return total


def _mapped(path: Path) -> mmap.mmap:
    """The file in memory; a file that is none of ours is begun anew.

    Raises:
        OSError: there is no room for it, or it may not be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size > _SIZE_BYTES:
            os.ftruncate(descriptor, _SIZE_BYTES)
        os.posix_fallocate(descriptor, 0, _SIZE_BYTES)
        entries = mmap.mmap(descriptor, _SIZE_BYTES)
    finally:
        os.close(descriptor)
    if not _is_ours(entries):
        entries[:] = bytes(_SIZE_BYTES)
        _HEAD.pack_into(entries, 0, _MAGIC, _VERSION)
    return entries


def _is_ours(content: bytes | mmap.mmap) -> bool:
    return len(content) == _SIZE_BYTES and _HEAD.unpack_from(content) == (_MAGIC, _VERSION)


def _entries(content: bytes | mmap.mmap) -> Iterator[tuple[str, int, int]]:
    """Endpoint, count, place; up to the first that is not taken."""
    for at in range(_HEAD.size, _SIZE_BYTES, _ENTRY.size):
        name, count = _ENTRY.unpack_from(content, at)
        if not name[0]:
            return
        yield _decoded(name), count, at


_OTHERS = b"-"
"""In place of an id: the entry of those for which there is no entry."""


def _encoded(endpoint_id: str) -> bytes:
    return endpoint_id.encode() or _OTHERS


def _decoded(name: bytes) -> str:
    return "" if name.rstrip(b"\0") == _OTHERS else name.rstrip(b"\0").decode("ascii", "replace")
