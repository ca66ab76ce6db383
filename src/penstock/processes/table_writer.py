"""The table writer process: turns what the spools hold into rows of Delta tables. It needs no other process.

It looks at the spools several times a second, and empties them when the oldest of what is there has waited for most of
the flush interval, when there is much of it, when somebody asks for it, and before it ends.

Who wants to know that all is in the tables connects to `run/table-writer.sock` and reads one line, `Flushed`: it comes
once everything that was in the spools at that moment has been committed or parked (`client.table_writer.flush`).
"""

import gc
import logging
import signal
import socket
import threading
import time
from pathlib import Path

from penstock.inference_tables.drain import Drain
from penstock.inference_tables.parking import Parking
from penstock.processes.launch import TableWriterLaunch, begin, report_ready
from penstock.settings import Home
from penstock.wire.messages import Flushed, encode_line

_POLL_S = 0.2
_DUE = 0.7
"""The share of the flush interval after which rows are committed, so that they can be read when it ends."""
_LARGE_BYTES = 16 << 20
_RETRY_S = 1.0
_TIDY_EVERY_S = 5.0
_MAX_WAITING = 64
_GC_THRESHOLD = 200_000
"""A chunk is more objects than the 700 at which Python looks for cycles, and leaves none."""

_log = logging.getLogger(__name__)


def main() -> None:
    """Write tables until SIGTERM."""
    launch = begin(TableWriterLaunch)
    home = Home(Path(launch.home))
    drain = Drain(
        home.spool,
        home.warehouse,
        Parking(home.table_writer, launch.parked_max_bytes),
        home.table_states,
        launch.workspace_id,
        launch.max_body_bytes,
        launch.keeps_days,
    )
    desk = Desk(socket.socket(fileno=launch.listen_fd))
    threading.Thread(target=desk.serve, name="flushes", daemon=True).start()
    stopping = threading.Event()

    def end(_signal: int, _frame: object) -> None:
        stopping.set()
        desk.ring.set()

    signal.signal(signal.SIGTERM, end)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    report_ready(launch)
    write(drain, desk, stopping, launch.flush_s)


class Desk:
    """Where others wait until everything is in the tables."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._waiting: list[socket.socket] = []
        self.ring = threading.Event()
        """Set when somebody has come, or the process is to end."""

    def serve(self) -> None:
        """Take in whoever comes, until the process ends."""
        self._listener.setblocking(True)
        while True:
            visitor, _ = self._listener.accept()
            visitor.settimeout(_RETRY_S)
            with self._lock:
                self._waiting.append(visitor)
                for impatient in self._waiting[:-_MAX_WAITING]:
                    impatient.close()
                del self._waiting[:-_MAX_WAITING]
            self.ring.set()

    def take(self) -> list[socket.socket]:
        """Those who wait now."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    def give_back(self, waiting: list[socket.socket]) -> None:
        """They have to wait on."""
        with self._lock:
            self._waiting = waiting + self._waiting


def write(drain: Drain, desk: Desk, stopping: threading.Event, flush_s: float) -> None:
    """The loop of the process; it ends when `stopping` is set and the spools are empty, or cannot be emptied."""
    waits_since_s: float | None = None
    tidied_at_s = time.monotonic()
    while True:
        desk.ring.wait(min(_POLL_S, flush_s / 4))
        desk.ring.clear()
        waiting = desk.take()
        is_last = stopping.is_set()
        try:
            unread_bytes = drain.unread_bytes()
            now_s = time.monotonic()
            if unread_bytes or drain.parked_tables:
                waits_since_s = now_s if waits_since_s is None else waits_since_s
            is_due = waits_since_s is not None and now_s - waits_since_s >= flush_s * _DUE
            if is_due or waiting or is_last or unread_bytes >= _LARGE_BYTES:
                drain.run()
                waits_since_s = None
                _answer(waiting, drain)
        except OSError as exc:
            desk.give_back(waiting)
            _log.error("the spools cannot be emptied, it is tried again: %s", exc)
            if not is_last:
                stopping.wait(_RETRY_S)
        if is_last:
            return
        if time.monotonic() - tidied_at_s > _TIDY_EVERY_S:
            drain.tidy()
            tidied_at_s = time.monotonic()


def _answer(waiting: list[socket.socket], drain: Drain) -> None:
    line = encode_line(Flushed(drain.parked_tables))
    for visitor in waiting:
        try:
            visitor.sendall(line)
        except OSError as exc:
            _log.info("somebody did not wait for the flush: %s", exc)
        visitor.close()


if __name__ == "__main__":
    main()
