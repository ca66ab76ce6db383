"""Who scores: threads of this process where the model works without Python's lock, else processes of their own.

A thread costs nothing, shares the model and copies no rows; so it is taken wherever it does what a process would. A
process that dies takes no run along: its chunk is halved until the row is found that kills it.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import LifoQueue
from typing import Protocol

import msgspec
import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from penstock.batch.isolation import Failure, Scored, Unscorable
from penstock.batch.model import BatchModel, ModelCall
from penstock.batch.pieces import Chunk
from penstock.domain.errors import InternalError

_MODULE = "penstock.processes.batch_scorer"
_MAX_DEATHS = 64
"""Of scoring processes in one run: then something else is wrong than a row."""

Select = Callable[[Chunk], pa.Table]
"""The columns of a chunk that the model gets, with the model's names."""


class Scorer(Protocol):
    """Scores chunks, several at a time."""

    def score(self, table: pa.Table) -> Scored:
        """What comes of a chunk; see `BatchModel.score`."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Answer(msgspec.Struct):
    """What a process says of a chunk; the columns follow as a message of their own."""

    failures: list[tuple[int, str]]
    has_columns: bool
    unscorable: str = ""


def scored_chunks(
    chunks: Iterator[Chunk], select: Select, scorer: Scorer, width: int
) -> Generator[tuple[Chunk, Scored], None, None]:
    """Chunks with what came of them, in order; `width` at a time are scored, and one more is held."""
    pool = ThreadPoolExecutor(width, "scorer", initializer=_one_thread_each)
    pending: deque[tuple[Chunk, Future[Scored]]] = deque()
    try:
        for chunk in chunks:
            pending.append((chunk, pool.submit(_score, scorer, select, chunk)))
            if len(pending) > width:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _score(scorer: Scorer, select: Select, chunk: Chunk) -> Scored:
    if not chunk.table.num_rows:
        return Scored(None)
    return scorer.score(select(chunk))


def _one_thread_each() -> None:
    """What computes in parallel by itself would only get in the way of the other threads here."""
    threadpool_limits(1)


class ThreadScorer:
    """Scores in whichever thread asks."""

    def __init__(self, model: BatchModel) -> None:
        """Take the model as it is."""
        self.score = model.score

    def close(self) -> None:
        """See `Scorer`."""


class ProcessScorer:
    """Scores in processes, which are started when they are first needed."""

    def __init__(self, call: ModelCall, processes: int) -> None:
        """Start none yet."""
        self._call = call
        self._idle: LifoQueue[_Child | None] = LifoQueue()
        for _ in range(processes):
            self._idle.put(None)
        self._children: set[_Child] = set()
        self._lock = threading.Lock()
        self._deaths = 0

    def score(self, table: pa.Table) -> Scored:
        """See `Scorer`."""
        child = self._idle.get()
        try:
            if child is None:
                child = self._start()
            scored = child.score(table)
        except EOFError:
            how = self._bury(child)
            child = None
        else:
            return scored
        finally:
            self._idle.put(child)
        if table.num_rows == 1:
            return Scored(None, (Failure(0, f"the process that scored it {how}"),))
        middle = table.num_rows // 2
        return _together(self.score(table.slice(0, middle)), self.score(table.slice(middle)), middle)

    def close(self) -> None:
        """See `Scorer`."""
        for child in tuple(self._children):
            child.end()
        self._children.clear()

    def _start(self) -> "_Child":
        child = _Child(self._call)
        with self._lock:
            self._children.add(child)
        return child

    def _bury(self, child: "_Child | None") -> str:
        if child is None:
            return "ended"
        with self._lock:
            self._children.discard(child)
            self._deaths += 1
            deaths = self._deaths
        how = child.end()
        if deaths > _MAX_DEATHS or not child.is_loaded:
            raise InternalError(f"A scoring process {how}; it is not started again.")
        return how


class _Child:
    """A process that has the model, and what it is asked over a socket."""

    def __init__(self, call: ModelCall) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - a module of ours
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _is_file(sys.stderr) else subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._connection = Connection(ours.detach())
        self._connection.send_bytes(msgspec.json.encode(call))
        self.is_loaded = False
        """Whether it has told that it has the model."""

    def score(self, table: pa.Table) -> Scored:
        """See `Scorer`; raises EOFError if the process has died."""
        try:
            if not self.is_loaded:
                self._connection.recv_bytes()
                self.is_loaded = True
            self._connection.send_bytes(packed(table))
            answer = msgspec.json.decode(self._connection.recv_bytes(), type=Answer)
            if answer.unscorable:
                raise Unscorable(answer.unscorable)
            columns = None
            if answer.has_columns:
                columns = [column.combine_chunks() for column in unpacked(self._connection.recv_bytes()).columns]
        except OSError as exc:
            raise EOFError from exc
        return Scored(columns, tuple(Failure(at, reason) for at, reason in answer.failures))

    def end(self) -> str:
        """Have the process end; says how it did."""
        self._connection.close()
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def packed(table: pa.Table) -> pa.Buffer:
    """A table as a message."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def unpacked(data: bytes) -> pa.Table:
    """A message as a table."""
    return pa.ipc.open_stream(data).read_all()


def _together(first: Scored, second: Scored, rows: int) -> Scored:
    """What came of two halves, of which the first has so many rows."""
    failures = (*first.failures, *(Failure(failure.at + rows, failure.reason) for failure in second.failures))
    if first.columns is None or second.columns is None:
        return Scored(first.columns or second.columns, failures)
    columns = [pa.concat_arrays(pair) for pair in zip(first.columns, second.columns, strict=True)]
    return Scored(columns, failures)


def _is_file(stream: object) -> bool:
    try:
        return bool(np.greater_equal(stream.fileno(), 0))  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
