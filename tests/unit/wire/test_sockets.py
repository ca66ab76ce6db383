"""Unix sockets, also under folders whose path is longer than an address may be."""

import socket
import sys
from pathlib import Path

import pytest

from penstock.wire.sockets import SocketFolder, slot_socket


def exchange(listener: socket.socket, address: str) -> bytes:
    """What a client that connects to the address is told by who accepts it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect(address)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
        return client.recv(100)


def long_folder(tmp_path: Path) -> Path:
    """A folder with a path of more than 200 characters."""
    folder = tmp_path / ("a" * 120) / ("b" * 120)
    folder.mkdir(parents=True)
    assert len(str(folder)) > 200
    return folder


def test_a_short_path_is_its_own_address() -> None:
    short = Path("/run")
    assert SocketFolder(short).address("x.sock") == str(short.resolve() / "x.sock")


def test_listen_and_connect(tmp_path: Path) -> None:
    sockets = SocketFolder(tmp_path)
    with sockets.listen(slot_socket("k-0")) as listener:
        assert exchange(listener, sockets.address("k-0.sock")) == b"hello"


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors as folders are Linux's")
def test_listen_and_connect_under_a_very_long_path(tmp_path: Path) -> None:
    folder = long_folder(tmp_path)
    sockets, another = SocketFolder(folder), SocketFolder(folder)
    with sockets.listen("k-0.sock") as listener:
        assert (folder / "k-0.sock").is_socket()
        assert exchange(listener, another.address("k-0.sock")) == b"hello"
    assert len(sockets.address("k-0.sock")) < 108


def test_sockets_are_open_to_their_owner_only_and_do_not_block(tmp_path: Path) -> None:
    with SocketFolder(tmp_path).listen("x.sock") as listener:
        assert (tmp_path / "x.sock").stat().st_mode & 0o777 == 0o600
        assert not listener.getblocking()


def test_a_stale_file_is_replaced(tmp_path: Path) -> None:
    sockets = SocketFolder(tmp_path)
    sockets.listen("x.sock").close()
    with sockets.listen("x.sock") as listener:
        assert exchange(listener, sockets.address("x.sock")) == b"hello"


def test_removing_what_is_not_there_is_harmless(tmp_path: Path) -> None:
    sockets = SocketFolder(tmp_path)
    sockets.remove("x.sock")
    sockets.listen("x.sock").close()
    sockets.remove("x.sock")
    assert list(tmp_path.iterdir()) == []
