"""A replica's loop: frames in, predictions, frames out.

The loop takes what has arrived on all connections: requests, which wait in the order they came, and cancellations,
which take a waiting one away or end a stream. The executor decides where a request is worked on: `process` blocks the
loop with one at a time and looks at the connections in between; `threads` works on four beside the loop.
After SIGTERM it says goodbye: a HELLO with no room. Gateways send nothing more then, and close their connections once
everything is answered; the loop ends with the last of them. New connections wait at the listener, which the supervisor
holds open, for the next process in this slot.
"""

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from penstock.domain.prediction import EVENT_STREAM, JSON, Answer, AnswerStream, ExecutorKind, Model, Note, Query
from penstock.wire.errors import error_body
from penstock.wire.frames import (
    CHUNK_BYTES,
    PROTOCOL_VERSION,
    End,
    Error,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    ProtocolError,
    encode,
    encode_struct,
    split_request,
)

SLOTS = {ExecutorKind.PROCESS: 1, ExecutorKind.THREADS: 4}
"""Requests that a replica works on at a time."""
WINDOW = 4
"""Requests that may wait here beside those at work; more would be lost to other replicas."""
MAX_ANSWER_BYTES = 256 << 20
"""A larger answer is refused: the gateway holds an answer whole before it passes it on."""
_RECEIVE_BYTES = 128 << 10
_SEND_TIMEOUT_S = 30.0
_STDERR = 2

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Peer:
    """A gateway's connection. Only the loop closes it; whoever cannot send shuts it down."""

    connection: socket.socket
    decoder: FrameDecoder = field(default_factory=FrameDecoder)
    sending: threading.Lock = field(default_factory=threading.Lock)
    is_gone: bool = False

    def send(self, data: bytes) -> None:
        with self.sending:
            if self.is_gone:
                return
            try:
                self.connection.sendall(data)
            except OSError as exc:
                _log.warning("a gateway's connection broke: %s", exc)
                self.is_gone = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)


@dataclass(eq=False, slots=True)
class _Job:
    peer: _Peer
    request_id: int
    query: Query
    is_cancelled: bool = False


class Server:
    """Serves one model on a listening socket until it is told to end and nobody needs it any more."""

    def __init__(
        self,
        listener: socket.socket,
        model: Model,
        executor: ExecutorKind = ExecutorKind.PROCESS,
        *,
        is_idempotent: bool = False,
    ) -> None:
        self._listener = listener
        self._is_idempotent = is_idempotent
        self._model = model
        self._slots = SLOTS[executor]
        self._pool = None if executor is ExecutorKind.PROCESS else ThreadPoolExecutor(self._slots, "slot")
        self._selector = selectors.DefaultSelector()
        self._peers: set[_Peer] = set()
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._is_draining = False
        self._has_said_goodbye = False
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        """Serve. Must be called in the main thread, which owns the signals."""
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._drain)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while self._waiting or self._running or self._peers or not self._is_draining:
            has_work = self._waiting and len(self._running) < self._slots
            self._look(0 if has_work else None)
            if self._is_draining and not self._has_said_goodbye:
                self._say_goodbye()
            while self._waiting and len(self._running) < self._slots:
                job = self._waiting.popleft()
                if job.peer.is_gone:
                    continue
                self._running.add(job)
                if self._pool is None:
                    self._work(job)
                    break  # what came meanwhile may be a cancellation
                self._pool.submit(self._work_in_thread, job)

    def _look(self, timeout_s: float | None) -> None:
        """Take what has arrived."""
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._wake_read:
                os.read(self._wake_read, 512)
            else:
                self._read(key.data)

    def _drain(self, _signal: int, _frame: object) -> None:
        self._is_draining = True

    def _say_goodbye(self) -> None:
        self._has_said_goodbye = True
        self._selector.unregister(self._listener)
        for peer in self._peers:
            peer.send(self._hello(slots=0, window=0))

    def _hello(self, slots: int, window: int) -> bytes:
        hello = Hello(PROTOCOL_VERSION, slots, window, os.getpid(), self._is_idempotent)
        return encode_struct(FrameType.HELLO, 0, hello)

    def _accept(self) -> None:
        try:
            connection = _away_from_streams(self._listener.accept()[0])
        except BlockingIOError:
            return
        connection.settimeout(_SEND_TIMEOUT_S)
        peer = _Peer(connection)
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        peer.send(self._hello(self._slots, WINDOW))

    def _read(self, peer: _Peer) -> None:
        try:
            count = peer.connection.recv_into(self._buffer)
            if count == 0:
                self._close(peer)
                return
            for frame in peer.decoder.feed(self._buffer[:count]):
                if frame.type is FrameType.REQUEST:
                    meta, body = split_request(frame.payload)
                    query = Query(body, meta.content_type, meta.api, meta.request_id, meta.endpoint)
                    self._waiting.append(_Job(peer, frame.request_id, query))
                elif frame.type is FrameType.CANCEL:
                    self._cancel(peer, frame.request_id)
        except (OSError, ProtocolError) as exc:
            _log.warning("a gateway's connection broke: %s", exc)
            self._close(peer)

    def _close(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        self._selector.unregister(peer.connection)
        with peer.sending:
            peer.is_gone = True
            peer.connection.close()
        self._waiting = deque(job for job in self._waiting if job.peer is not peer)

    def _cancel(self, peer: _Peer, request_id: int) -> None:
        for job in list(self._running):
            if job.peer is peer and job.request_id == request_id:
                job.is_cancelled = True
        self._waiting = deque(job for job in self._waiting if job.peer is not peer or job.request_id != request_id)

    def _work_in_thread(self, job: _Job) -> None:
        try:
            self._work(job)
        except BaseException as exc:  # noqa: BLE001 - exit() in a model ends its process; here it has only a thread
            _log.exception("a request could not be answered")
            message = f"The replica failed on this request: {type(exc).__name__}."
            job.peer.send(encode_struct(FrameType.ERROR, job.request_id, Error(message)))
        finally:
            with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop as well
                os.write(self._wake_write, b"\0")

    def _work(self, job: _Job) -> None:
        job.peer.send(encode(FrameType.STARTED, job.request_id))
        started = time.perf_counter_ns()
        frames: list[bytes] = []
        try:
            answer = self._model(job.query)
            if isinstance(answer, AnswerStream):
                self._send_stream(job, answer)
            else:
                frames += _frames(job.request_id, answer)
        finally:
            self._running.discard(job)
        elapsed_us = (time.perf_counter_ns() - started) // 1000
        frames.append(encode_struct(FrameType.END, job.request_id, _end(elapsed_us, answer.note)))
        job.peer.send(b"".join(frames))

    def _send_stream(self, job: _Job, answer: AnswerStream) -> None:
        head = Head(200, EVENT_STREAM, is_stream=True)
        job.peer.send(encode_struct(FrameType.HEAD, job.request_id, head))
        with contextlib.closing(answer.pieces) as pieces:
            for piece in pieces:
                job.peer.send(b"".join(_chunks(job.request_id, piece)))
                if self._pool is None:
                    self._look(0)
                if job.is_cancelled or job.peer.is_gone:
                    return


def _away_from_streams(connection: socket.socket) -> socket.socket:
    """The connection under a number that no model prints to, though it has closed its standard streams."""
    if connection.fileno() > _STDERR:
        return connection
    with connection:
        return socket.socket(fileno=fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, _STDERR + 1))


def _frames(request_id: int, answer: Answer) -> list[bytes]:
    """A whole answer, all but its END."""
    status, body, content_type = answer.status, answer.body, answer.content_type
    if len(body) > MAX_ANSWER_BYTES:
        message = f"The model's answer of {len(body)} bytes is over the limit of {MAX_ANSWER_BYTES} bytes."
        status, body, content_type = 400, error_body("BAD_REQUEST", message), JSON
    return [encode_struct(FrameType.HEAD, request_id, Head(status, content_type)), *_chunks(request_id, body)]


def _chunks(request_id: int, data: bytes) -> list[bytes]:
    pieces = (data[offset : offset + CHUNK_BYTES] for offset in range(0, len(data), CHUNK_BYTES))
    return [encode(FrameType.CHUNK, request_id, piece) for piece in pieces]


def _end(execution_us: int, note: Note) -> End:
    return End(execution_us, note.client_request_id, note.usage_context, note.input_tokens, note.output_tokens)
