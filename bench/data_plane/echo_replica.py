"""A replica without a model: it speaks the frame protocol as a real one does and gives every request the same answer.

    python bench/data_plane/echo_replica.py SOCKET...

What one `recv` brought is a batch. STARTED of all of it leaves first, as with a model that is about to work; then the
answers leave together.
"""

import os
import selectors
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from penstock.wire.frames import (
    PROTOCOL_VERSION,
    End,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    encode,
    encode_struct,
)

SLOTS, WINDOW = 64, 64
ANSWER = b'{"predictions": [{"label": 1, "probability": 0.8241357915}, {"label": 0, "probability": 0.1}]}'
_RECEIVE_BYTES = 64 << 10


class Peer:
    """A gateway's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._decoder = FrameDecoder()
        self._buffer = bytearray(_RECEIVE_BYTES)
        connection.sendall(encode_struct(FrameType.HELLO, 0, Hello(PROTOCOL_VERSION, SLOTS, WINDOW, os.getpid())))

    def serve(self) -> bool:
        """Answer what has arrived; False if the gateway has gone."""
        count = self.connection.recv_into(self._buffer)
        if not count:
            return False
        frames = self._decoder.feed(self._buffer[:count])
        ids = [frame.request_id for frame in frames if frame.type is FrameType.REQUEST]
        if ids:
            self.connection.sendall(b"".join([encode(FrameType.STARTED, request_id) for request_id in ids]))
            self.connection.sendall(b"".join([_answer(request_id) for request_id in ids]))
        return True


_HEAD = Head(200, "application/json")
_END = End(3)


def _answer(request_id: int) -> bytes:
    return (
        encode_struct(FrameType.HEAD, request_id, _HEAD)
        + encode(FrameType.CHUNK, request_id, ANSWER)
        + encode_struct(FrameType.END, request_id, _END)
    )


def main() -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    selector = selectors.DefaultSelector()
    for address in sys.argv[1:]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ, listener)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            peer = key.data
            if isinstance(peer, socket.socket):
                connection, _ = peer.accept()
                selector.register(connection, selectors.EVENT_READ, Peer(connection))
            elif not peer.serve():
                selector.unregister(peer.connection)
                peer.connection.close()


if __name__ == "__main__":
    main()
