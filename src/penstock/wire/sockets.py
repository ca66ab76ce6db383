"""Addresses of our Unix sockets, also where the home folder's path is longer than an address may be.

A Unix socket address holds 107 bytes on Linux. A longer path is reached through an open descriptor of its folder
(`/proc/self/fd/N/name`), which Linux resolves on its own; elsewhere such a home is refused with the reason.
"""

import contextlib
import os
import socket
import sys
from pathlib import Path

_MAX_ADDRESS_BYTES = 100
CONTROL_PLANE = "control-plane.sock"
MLFLOW = "mlflow.sock"
SUPERVISOR = "supervisor.sock"
ROUTING = "routing.sock"
TABLE_WRITER = "table-writer.sock"


def slot_socket(slot: str) -> str:
    """File name of a replica's socket."""
    return f"{slot}.sock"


def gateway_socket(name: str) -> str:
    """File name of the socket on which a gateway serves its siblings."""
    return f"{name}.sock"


class SocketFolder:
    """The folder `run/`: turns the name of a socket into an address that this process can use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._descriptor: int | None = None

    def address(self, name: str) -> str:
        """An address for `connect` and `bind` in this process.

        Raises:
            OSError: the path is too long and this system has no way around it.
        """
        plain = str(self._folder / name)
        if len(os.fsencode(plain)) <= _MAX_ADDRESS_BYTES:
            return plain
        if sys.platform != "linux":
            raise OSError(f"the path {plain} is too long for a Unix socket; choose a shorter home folder")
        if self._descriptor is None:
            self._descriptor = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def listen(self, name: str, backlog: int = 512) -> socket.socket:
        """A listening, non-blocking socket of that name, open to this user only; a stale file is replaced."""
        self.remove(name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.address(name))
        (self._folder / name).chmod(0o600)
        listener.listen(backlog)
        listener.setblocking(False)
        return listener

    def remove(self, name: str) -> None:
        """Delete the socket's file, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            (self._folder / name).unlink()
