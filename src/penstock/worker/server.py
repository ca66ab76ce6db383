"""A replica's loop: frames in, predictions, frames out.

The loop takes what has arrived on all connections: requests, which wait in the order they came, and cancellations,
which take a waiting one away or end a stream. The executor decides where a request is worked on: `process` blocks the
loop and looks at the connections in between; `threads` works on four beside the loop. With `process`, a model that can
be asked several queries at a time is asked all that wait when the loop looks: it never waits for more of them.
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
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache

import msgspec

from penstock.domain.prediction import (
    EVENT_STREAM,
    JSON,
    NOTHING_NOTED,
    Answer,
    AnswerStream,
    BatchModel,
    ExecutorKind,
    Model,
    Note,
    Query,
)
from penstock.wire.errors import error_body
from penstock.wire.frames import (
    PROTOCOL_VERSION,
    End,
    Error,
    FrameDecoder,
    FrameType,
    Head,
    Hello,
    ProtocolError,
    encode,
    encode_answer,
    encode_chunks,
    encode_empty,
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
_SEND_TIMEOUT_S = 30
_SEND_TIMEOUT = struct.pack("@ll", _SEND_TIMEOUT_S, 0)
_STDERR = 2

# Looking a member up in its enum costs more than what is done with it.
_REQUEST, _STARTED, _CANCEL = int(FrameType.REQUEST), FrameType.STARTED, int(FrameType.CANCEL)

_log = logging.getLogger(__name__)

Within = Callable[[str], AbstractContextManager[None]]
"""What is done inside of it belongs to the trace that a `traceparent` names."""


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
        batch_model: BatchModel | None = None,
        spin_us: int = 0,
        within: Within | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            listener: where gateways connect.
            model: answers.
            executor: where it does so.
            is_idempotent: whether a request may be begun a second time.
            batch_model: the same model, if it can be asked several queries at a time.
            spin_us: for how long to look for the next request before sleeping, if one is likely to come so soon:
                waking up takes longer than looking. The threads executor never does: it would be in its models' way.
            within: has what the model does belong to a trace.
        """
        self._within = within
        self._listener = listener
        self._is_idempotent = is_idempotent
        self._spin_ns = spin_us * 1000 if executor is ExecutorKind.PROCESS else 0
        self._is_asked_often = False
        """Whether the last request came alone, and soon after the one before."""
        self._model = model
        self._slots = SLOTS[executor]
        self._pool = None if executor is ExecutorKind.PROCESS else ThreadPoolExecutor(self._slots, "slot")
        self._batch_model = batch_model if executor is ExecutorKind.PROCESS else None
        self._batch_limit = 1 if self._batch_model is None else self._batch_model.batch_limit
        self._selector = selectors.DefaultSelector()
        self._peers: set[_Peer] = set()
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._is_draining = False
        self._has_said_goodbye = False
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._bytes = memoryview(self._buffer)
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
            if self._waiting and len(self._running) < self._slots:
                self._look(0)
            elif self._batch_model is None or not self._batch_model.wants_idle_time:
                self._wait()
            elif not self._look(0):
                self._batch_model.use_idle_time()
            if self._is_draining and not self._has_said_goodbye:
                self._say_goodbye()
            if self._pool is None:
                self._work_on_batch()
            else:
                self._hand_to_threads(self._pool)

    def _work_on_batch(self) -> None:
        """Work on what waits, as much as the model takes at a time; what comes meanwhile may be a cancellation."""
        jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_limit))]
        if jobs:
            self._running.update(jobs)
            self._work(jobs)

    def _hand_to_threads(self, pool: ThreadPoolExecutor) -> None:
        while self._waiting and len(self._running) < self._slots:
            job = self._waiting.popleft()
            self._running.add(job)
            pool.submit(self._work_in_thread, job)

    def _wait(self) -> None:
        """Sleep until something comes; if that is likely to be soon, look for it a while first."""
        until_ns = time.perf_counter_ns() + self._spin_ns
        has_come = False
        while self._is_asked_often and not has_come and time.perf_counter_ns() < until_ns:
            os.sched_yield()  # whoever has something to do goes first
            has_come = self._look(0)
        if not has_come:
            self._look(None)
        self._is_asked_often = len(self._waiting) <= 1 and time.perf_counter_ns() < until_ns

    def _look(self, timeout_s: float | None) -> bool:
        """Take what has arrived; whether anything has."""
        found = self._selector.select(timeout_s)
        for key, _ in found:
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj == self._wake_read:
                os.read(self._wake_read, 512)
            else:
                self._read(key.data)
        return bool(found)

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
        connection.setblocking(True)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)  # settimeout would poll each time
        peer = _Peer(connection)
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)
        peer.send(self._hello(self._slots, max(WINDOW, self._batch_limit - self._slots)))

    def _read(self, peer: _Peer) -> None:
        try:
            count = peer.connection.recv_into(self._buffer)
            if count == 0:
                self._close(peer)
                return
            for kind, request_id, payload, _, _ in peer.decoder.cut(bytes(self._bytes[:count])):
                if kind == _REQUEST:
                    meta, body = split_request(payload)
                    query = Query(body, meta.content_type, meta.api, meta.request_id, meta.endpoint, meta.traceparent)
                    self._waiting.append(_Job(peer, request_id, query))
                elif kind == _CANCEL:
                    self._cancel(peer, request_id)
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
            self._work([job])
        except BaseException as exc:  # noqa: BLE001 - exit() in a model ends its process; here it has only a thread
            _log.exception("a request could not be answered")
            message = f"The replica failed on this request: {type(exc).__name__}."
            job.peer.send(encode_struct(FrameType.ERROR, job.request_id, Error(message)))
        finally:
            with contextlib.suppress(BlockingIOError):  # a full pipe wakes the loop as well
                os.write(self._wake_write, b"\0")

    def _work(self, jobs: list[_Job]) -> None:
        """Answer these; what is whole leaves in one write for each gateway."""
        by_peer: dict[_Peer, list[int]] = {}
        for at, job in enumerate(jobs):
            by_peer.setdefault(job.peer, []).append(at)
        for peer, places in by_peer.items():
            peer.send(encode_empty(_STARTED, [jobs[at].request_id for at in places]))
        started = time.perf_counter_ns()
        try:
            answers = self._answer(jobs)
            elapsed_us = _us_since(started)
            for peer, places in by_peer.items():
                whole = ((jobs[at].request_id, answer) for at in places if isinstance(answer := answers[at], Answer))
                peer.send(b"".join([_whole(request_id, answer, elapsed_us) for request_id, answer in whole]))
            for job, answer in zip(jobs, answers, strict=True):
                if isinstance(answer, AnswerStream):
                    self._send_stream(job, answer)
                    end = _end(_us_since(started), answer.note)
                    job.peer.send(encode(FrameType.END, job.request_id, end))
        finally:
            self._running.difference_update(jobs)

    def _answer(self, jobs: list[_Job]) -> Sequence[Answer | AnswerStream]:
        """Answer these. What is asked alone is asked within its trace: a model may add to it."""
        traceparent = jobs[0].query.traceparent if len(jobs) == 1 else ""
        if not traceparent or self._within is None:
            return self._ask(jobs)
        with self._within(traceparent):
            return self._ask(jobs)

    def _ask(self, jobs: list[_Job]) -> Sequence[Answer | AnswerStream]:
        if self._batch_model is None:
            return [self._model(job.query) for job in jobs]
        return self._batch_model.answer_all([job.query for job in jobs])

    def _send_stream(self, job: _Job, answer: AnswerStream) -> None:
        head = Head(200, EVENT_STREAM, is_stream=True)
        job.peer.send(encode_struct(FrameType.HEAD, job.request_id, head))
        with contextlib.closing(answer.pieces) as pieces:
            for piece in pieces:
                job.peer.send(b"".join(encode_chunks(job.request_id, piece)))
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


def _whole(request_id: int, answer: Answer, elapsed_us: int) -> bytes:
    """A whole answer's frames."""
    status, body, content_type = answer.status, answer.body, answer.content_type
    if len(body) > MAX_ANSWER_BYTES:
        message = f"The model's answer of {len(body)} bytes is over the limit of {MAX_ANSWER_BYTES} bytes."
        status, body, content_type = 400, error_body("BAD_REQUEST", message), JSON
    note = answer.note
    end = _plain_end(elapsed_us) if note is NOTHING_NOTED else _end(elapsed_us, note)
    return encode_answer(request_id, _head(status, content_type), body, end)


@lru_cache(maxsize=64)
def _head(status: int, content_type: str) -> bytes:
    return msgspec.json.encode(Head(status, content_type))


@lru_cache(maxsize=1)
def _plain_end(elapsed_us: int) -> bytes:
    """Most of a batch have the same."""
    return _end(elapsed_us, NOTHING_NOTED)


def _end(elapsed_us: int, note: Note) -> bytes:
    content = End(elapsed_us, note.client_request_id, note.usage_context, note.input_tokens, note.output_tokens)
    return msgspec.json.encode(content)


def _us_since(started_ns: int) -> int:
    return (time.perf_counter_ns() - started_ns) // 1000
