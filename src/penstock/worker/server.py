"""A replica's loop: frames in, one prediction at a time, frames out.

The loop is single-threaded and blocks in the model. Between two predictions it takes what has arrived on all
connections: more requests, which wait in the order they came, and cancellations, which take a waiting one away.
After SIGTERM it goes on until the last gateway has closed its connection: gateways do that once a replica is out of
their routing table and has answered everything.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock.wire.errors import error_body
from penstock.wire.frames import (
    CHUNK_BYTES,
    PROTOCOL_VERSION,
    End,
    Frame,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    ProtocolError,
    encode,
    encode_struct,
    split_request,
)

SLOTS = 1
WINDOW = 4
"""Requests that may wait here beside the one at work; more would be lost to other replicas."""
MAX_ANSWER_BYTES = 256 << 20
"""A larger answer is refused: the gateway holds an answer whole before it passes it on."""
_RECEIVE_BYTES = 128 << 10
_SEND_TIMEOUT_S = 30.0

_log = logging.getLogger(__name__)


class Scored(NamedTuple):
    """What the model's side gives back for one body."""

    status: int
    body: bytes
    content_type: str


Score = Callable[[bytes, str], Scored]
"""Body and content type to answer; never raises for what the body holds."""


@dataclass(eq=False, slots=True)
class _Peer:
    """A gateway's connection."""

    connection: socket.socket
    decoder: FrameDecoder = field(default_factory=FrameDecoder)


class _Job(NamedTuple):
    peer: _Peer
    frame: Frame


class Server:
    """Serves one model on a listening socket until it is told to end and nobody needs it any more."""

    def __init__(self, listener: socket.socket, score: Score) -> None:
        self._listener = listener
        self._score = score
        self._selector = selectors.DefaultSelector()
        self._peers: set[_Peer] = set()
        self._jobs: deque[_Job] = deque()
        self._is_draining = False
        self._buffer = bytearray(_RECEIVE_BYTES)

    def run(self) -> None:
        """Serve. Must be called in the main thread, which owns the signals."""
        wake_read, wake_write = os.pipe()
        for descriptor in (wake_read, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGTERM, self._drain)
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while self._jobs or self._peers or not self._is_draining:
            for key, _ in self._selector.select(0 if self._jobs else None):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj == wake_read:
                    os.read(wake_read, 512)
                else:
                    self._read(key.data)
            if self._jobs:
                self._work(self._jobs.popleft())

    def _drain(self, _signal: int, _frame: object) -> None:
        self._is_draining = True

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.settimeout(_SEND_TIMEOUT_S)
        peer = _Peer(connection)
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        hello = Hello(PROTOCOL_VERSION, SLOTS, WINDOW, os.getpid())
        self._send(peer, encode_struct(FrameType.HELLO, 0, hello))

    def _read(self, peer: _Peer) -> None:
        try:
            count = peer.connection.recv_into(self._buffer)
            frames = list(peer.decoder.feed(self._buffer[:count]))
        except (OSError, ProtocolError) as exc:
            _log.warning("a gateway's connection broke: %s", exc)
            self._close(peer)
            return
        if count == 0:
            self._close(peer)
            return
        for frame in frames:
            if frame.type is FrameType.REQUEST:
                self._jobs.append(_Job(peer, frame))
            elif frame.type is FrameType.CANCEL:
                self._cancel(peer, frame.request_id)

    def _work(self, job: _Job) -> None:
        peer, frame = job
        try:
            meta, body = split_request(frame.payload)
        except ProtocolError as exc:
            _log.warning("a gateway sent a bad request frame: %s", exc)
            self._close(peer)
            return
        self._send(peer, encode(FrameType.STARTED, frame.request_id))
        started = time.perf_counter_ns()
        scored = self._score(body, meta.content_type)
        if len(scored.body) > MAX_ANSWER_BYTES:
            message = f"The model's answer of {len(scored.body)} bytes is over the limit of {MAX_ANSWER_BYTES} bytes."
            scored = Scored(400, error_body("BAD_REQUEST", message), "application/json")
        elapsed_us = (time.perf_counter_ns() - started) // 1000
        answer = [encode_struct(FrameType.HEAD, frame.request_id, Head(scored.status, scored.content_type))]
        for offset in range(0, len(scored.body), CHUNK_BYTES):
            chunk = scored.body[offset : offset + CHUNK_BYTES]
            answer.append(encode(FrameType.CHUNK, frame.request_id, chunk))
        answer.append(encode_struct(FrameType.END, frame.request_id, End(elapsed_us)))
        self._send(peer, b"".join(answer))

    def _send(self, peer: _Peer, data: bytes) -> None:
        if peer not in self._peers:
            return
        try:
            peer.connection.sendall(data)
        except OSError as exc:
            _log.warning("a gateway's connection broke: %s", exc)
            self._close(peer)

    def _close(self, peer: _Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._selector.unregister(peer.connection)
            with contextlib.suppress(OSError):
                peer.connection.close()
            self._jobs = deque(job for job in self._jobs if job.peer is not peer)

    def _cancel(self, peer: _Peer, request_id: int) -> None:
        self._jobs = deque(job for job in self._jobs if job.peer is not peer or job.frame.request_id != request_id)
