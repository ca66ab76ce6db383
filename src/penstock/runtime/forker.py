"""The supervisor's side of the fork server: asks for processes, and is told their ids.

The request is a packet on a socket pair whose other end the supervisor keeps open as well, so that it waits there while
the fork server is started anew. A request that is not answered in time has failed; the caller starts a process of its
own then, and one that comes after all is killed.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from penstock.runtime.unnamed_file import unnamed_file
from penstock.wire.zygote import MAX_PACKET_BYTES, Fork, answers

_TIMEOUT_S = 10.0

OnForked = Callable[[int | None], None]
"""Told the id of the new process, or None if there is none."""


class Forker:
    """Forks processes by one fork server."""

    def __init__(self) -> None:
        self._own_end, self.server_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._own_end.setblocking(False)
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[OnForked, asyncio.TimerHandle]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._own_end, self._read)
        self.is_ready = False
        """Whether the fork server can be asked; set by whoever watches it."""

    @property
    def is_busy(self) -> bool:
        """Whether a process may exist whose id is not known yet."""
        return bool(self._waiting)

    def fork(
        self, environment: Mapping[str, str], folder: Path, descriptors: Mapping[int, int], on_forked: OnForked
    ) -> None:
        """Ask for a process.

        Args:
            environment: all of it.
            folder: where it runs.
            descriptors: by the number in the new process, those here.
            on_forked: called once.

        Raises:
            OSError: it cannot even be asked.
        """
        request_id = next(self._ids)
        packet = msgspec.json.encode(Fork(request_id, str(folder), list(descriptors)))
        with unnamed_file(json.dumps(dict(environment)).encode(), folder) as file:
            socket.send_fds(self._own_end, [packet], [file.fileno(), *descriptors.values()])
        timer = self._loop.call_later(_TIMEOUT_S, self._finish, request_id, None)
        self._waiting[request_id] = on_forked, timer

    def close(self) -> None:
        """Ask for nothing any more; who waits for a process is told that there is none."""
        self.is_ready = False
        self._loop.remove_reader(self._own_end)
        self._own_end.close()
        for request_id in list(self._waiting):
            self._finish(request_id, None)
        self.server_end.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            packet = self._own_end.recv(MAX_PACKET_BYTES)
            if not packet:  # the other end is closed for good
                self._loop.remove_reader(self._own_end)
                return
            answer = answers.decode(packet)
            self._finish(answer.id, answer.pid)

    def _finish(self, request_id: int, pid: int | None) -> None:
        on_forked, timer = self._waiting.pop(request_id, (None, None))
        if timer is not None:
            timer.cancel()
        if on_forked is not None:
            on_forked(pid)
        elif pid is not None:  # it was given up
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
