"""The supervisor's children: started, watched, restarted with back-off, stopped as whole sessions.

Each child is a Python module in a session of its own, told what to do by a JSON document on its standard input and
telling that it is ready, or why it cannot be, over a status pipe. One SIGCHLD handler reaps everything that dies,
descendants that were adopted included. When a child dies, what is left of its session is killed with it.

A child may sleep: no process, but its sockets stay open, and the first connection to one of them starts it.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec

from penstock.domain.confinement import Confinement
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaState
from penstock.faults import fault_point
from penstock.runtime.capture import MAX_LOG_BYTES, CappedLog, Capture
from penstock.runtime.forker import Forker
from penstock.runtime.restarts import deaths_in_a_row, restart_delay_s
from penstock.runtime.unnamed_file import unnamed_file
from penstock.wire.messages import StatusReport

_MAX_STATUS_BYTES = 64 << 10

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """How to start one child, again and again."""

    name: str
    role: str
    module: str
    document: Callable[[int], bytes]
    """The JSON document for standard input, given the number of the status pipe's descriptor."""
    start_log: Path
    """Output until the child is ready."""
    run_log: Path
    """Output from then on."""
    environment: Mapping[str, str] = field(repr=False)
    """Of a replica it holds secrets in clear."""
    folder: Path
    listeners: tuple[socket.socket, ...] = ()
    """Listening sockets that the child inherits; they stay open here while the child is dead."""
    drain_timeout_s: float = 30.0
    """How long after SIGTERM the child is killed."""
    forker: Callable[[str | None], Forker | None] = lambda _: None
    """Given the Python environment in which the child ran last, what forks it in place of a process that has to import
    everything itself."""
    python: str = sys.executable
    """The interpreter of a process of its own."""
    confinement: Confinement | None = None
    """What the child and all that it starts may use; None for a process of ours."""
    group: str = ""
    """Children of one group do the same work; one of them at a time is renewed."""
    on_exit: Callable[[int | None, str], None] | None = None
    """Of a child that runs once: told how it ended, with its exit code if it has one, before it is forgotten. None for
    one that is kept running."""
    max_log_bytes: int = MAX_LOG_BYTES
    """Of each of the two parts of a log."""


@dataclass(slots=True)
class Child:
    """One child and how it stands."""

    plan: ChildPlan
    state: ReplicaState = ReplicaState.STARTING
    pid: int | None = None
    started_at_ms: int = 0
    restarts: int = 0
    deaths: int = 0
    load_failed: bool = False
    """The last process ended because it said that it cannot become ready."""
    message: str = ""
    """Why the last process ended; empty if none has, or if it was to sleep."""
    ended_at_ms: int = 0
    """When that was."""
    retry_at_ms: int = 0
    """When the next one is started, while there is none."""
    environment: str | None = None
    """The Python environment in which it was last ready: empty for ours, None if that is not known yet."""
    check: ModelCheck | None = None
    """What the last process that came so far found out about its model; kept while the next one starts."""
    was_woken: bool = False
    """A connection woke it; until it is put to sleep again."""
    _sleeps_next: bool = False
    """It is to sleep once its process has ended."""
    _renews_next: bool = False
    _starts_at_once: bool = False
    """It is to have a new process once this one has ended."""
    _reason: str = ""
    _reported_failure: bool = False
    _ready_since: float | None = None
    _process: subprocess.Popen[bytes] | None = None
    _forker: Forker | None = None
    _capture: Capture | None = None
    _status_pipe: int | None = None
    _status_bytes: bytearray = field(default_factory=bytearray)
    _timer: asyncio.TimerHandle | None = None


class ProcessTree:
    """All children by name. Everything happens on one event loop, in the main thread."""

    def __init__(self, on_change: Callable[[], None], on_end: Callable[[Child, int], str | None]) -> None:
        """Watch over no children yet.

        Args:
            on_change: called whenever something is different.
            on_end: called with each child whose process has ended, before that is forgotten, and with its exit code;
                may know better than that why it ended.
        """
        self._on_end = on_end
        self._children: dict[str, Child] = {}
        self._on_change = on_change
        self._strangers: dict[int, int] = {}
        """Exit codes of processes that died before we were told that they are ours."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def __contains__(self, name: str) -> bool:
        return name in self._children

    def check_of(self, name: str) -> ModelCheck | None:
        """What the processes of a child found out so far."""
        child = self._children.get(name)
        return None if child is None else child.check

    def add(self, plan: ChildPlan, *, is_asleep: bool = False) -> None:
        """Start a child and keep it running; or let it sleep until somebody connects."""
        child = self._children[plan.name] = Child(plan)
        if is_asleep:
            self._fall_asleep(child)
            self._on_change()
        else:
            self._start(child)

    def rest(self, name: str) -> None:
        """Let a child finish what it has and sleep then. Harmless if there is none, or none that could sleep now."""
        child = self._children.get(name)
        if child is None or child.state not in {ReplicaState.READY, ReplicaState.RESTARTING}:
            return
        child.was_woken = False
        if child.pid is None:
            self._cancel_timer(child)
            self._fall_asleep(child)
        else:
            child._sleeps_next = True
            self._end_gently(child, child.plan.drain_timeout_s)
        self._on_change()

    def wake(self, name: str) -> None:
        """Start a child that sleeps; one that a connection has woken counts as asked for from now on."""
        child = self._children.get(name)
        if child is not None and child.state is ReplicaState.ASLEEP:
            self._end_sleep(child)
            self._start(child)
        elif child is not None and child.was_woken:
            child.was_woken = False
            self._on_change()

    def remove(self, name: str, timeout_s: float | None = None) -> None:
        """Let a child finish what it has, then forget it. Harmless if there is none.

        It is killed after `timeout_s`, or its plan's time to drain.
        """
        child = self._children.get(name)
        if child is None:
            return
        child._sleeps_next = child._renews_next = False
        if child.state is ReplicaState.DRAINING:
            return
        if child.pid is None:
            self._cancel_timer(child)
            self._end_sleep(child)
            self._forget(child)
        else:
            self._end_gently(child, child.plan.drain_timeout_s if timeout_s is None else timeout_s)
        self._on_change()

    def renew(self, name: str, pid: int, reason: str) -> bool:
        """Let this very process of a child finish what it has; a new one takes its place, and no death is counted.

        Returns:
            Whether that is going to happen: not while the child or another of its group is not ready.
        """
        child = self._children.get(name)
        if child is None or child.pid != pid or child.plan.on_exit is not None:
            return False
        group = [one for one in self if one.plan.group == child.plan.group] if child.plan.group else [child]
        if any(one.state not in {ReplicaState.READY, ReplicaState.ASLEEP} for one in group):
            return False
        child._reason = reason
        child._renews_next = True
        self._end_gently(child, child.plan.drain_timeout_s)
        self._on_change()
        return True

    def recycle(self, name: str, pid: int, reason: str, *, at_once: bool = False) -> None:
        """Kill this very process of a child; a new one takes its place, if need be without the usual delay."""
        child = self._children.get(name)
        if child is not None and child.pid == pid:
            child._reason = reason
            child._starts_at_once = at_once
            self._kill(child)

    async def close(self, timeout_s: float) -> None:
        """Ask every child to end, kill those that have not after `timeout_s`, and wait for them all."""
        for name in list(self._children):
            self.remove(name)
        deadline = self._loop.time() + timeout_s
        while self._children:
            if self._loop.time() > deadline:
                for child in list(self):
                    self._kill(child)
                deadline = self._loop.time() + timeout_s
            await asyncio.sleep(0.02)

    def _start(self, child: Child, *, afresh: bool = False) -> None:
        plan = child.plan
        child._timer = None
        child.state = ReplicaState.STARTING
        child._ready_since = None
        child._reason, child._reported_failure = "", False
        capture = child._capture = Capture(CappedLog(plan.start_log, plan.max_log_bytes))
        status_read, status_write = os.pipe()
        inherited = [status_write, *(listener.fileno() for listener in plan.listeners)]
        forker = child._forker = None if afresh else plan.forker(child.environment)
        process = None
        try:
            with unnamed_file(plan.document(status_write), plan.folder) as document:
                if forker is not None:
                    streams = {0: document.fileno(), 1: capture.write_end, 2: capture.write_end}
                    descriptors = {**streams, **{number: number for number in inherited}}
                    forker.fork(plan.environment, plan.folder, descriptors, partial(self._forked, child, capture))
                else:
                    process = subprocess.Popen(  # noqa: S603 - our own module, arguments of our own
                        [plan.python, "-P", "-m", plan.module],
                        stdin=document,
                        stdout=capture.write_end,
                        stderr=capture.write_end,
                        pass_fds=inherited,
                        cwd=plan.folder,
                        env=dict(plan.environment),
                        start_new_session=True,
                    )
        except OSError as exc:  # no memory, no processes left, no space for the document: try again later
            os.close(status_read)
            self._after_death(child, f"The process could not be started: {exc}.")
            return
        finally:
            os.close(status_write)
            os.close(capture.write_end)
        child.started_at_ms = time.time_ns() // 1_000_000
        os.set_blocking(status_read, False)
        child._status_pipe = status_read
        child._status_bytes.clear()
        self._loop.add_reader(status_read, self._read_status, child)
        if process is not None:
            fault_point("child-before-note")
            _log.info("%s started, pid %d", plan.name, process.pid)
            child._process, child.pid = process, process.pid
        self._on_change()

    def _forked(self, child: Child, capture: Capture, pid: int | None) -> None:
        """The fork server has told the id of a child's new process, or has not answered."""
        is_current = self._children.get(child.plan.name) is child and child._capture is capture
        if pid is None:
            if is_current:
                _log.warning("%s was not forked in time, and is started afresh", child.plan.name)
                self._close_status(child)
                capture.finish()
                self._start(child, afresh=True)
            return
        exit_code = self._strangers.pop(pid, None)
        if not is_current:
            if exit_code is None:
                _signal_session(pid, signal.SIGKILL)
            return
        fault_point("fork-before-note")
        _log.info("%s forked, pid %d", child.plan.name, pid)
        child.pid = pid
        if exit_code is not None:
            self._bury(child, exit_code)
        else:
            self._on_change()

    def _read_status(self, child: Child) -> None:
        if child._status_pipe is None:
            return
        try:
            data = os.read(child._status_pipe, _MAX_STATUS_BYTES)
        except BlockingIOError:
            return
        if not data or len(child._status_bytes) > _MAX_STATUS_BYTES:
            self._close_status(child)
            return
        child._status_bytes += data
        *lines, rest = bytes(child._status_bytes).split(b"\n")
        child._status_bytes[:] = rest
        for line in lines:
            with contextlib.suppress(msgspec.MsgspecError):
                self._take_report(child, msgspec.json.decode(line, type=StatusReport))

    def _take_report(self, child: Child, report: StatusReport) -> None:
        has_learned = report.check not in {None, child.check}
        child.check = report.check or child.check
        if not report.ready:
            child._reported_failure = True
            child._reason = report.message
            return
        child._ready_since = self._loop.time()
        child.load_failed = False
        child.environment = report.environment
        if child._capture is not None:
            child._capture.log = CappedLog(child.plan.run_log, child.plan.max_log_bytes)
        if child.state is ReplicaState.STARTING:
            child.state = ReplicaState.READY
            self._on_change()
        elif has_learned:
            self._on_change()

    def _reap(self) -> None:
        by_pid = {child.pid: child for child in self if child.pid is not None}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in by_pid:
                self._bury(by_pid[pid], os.waitstatus_to_exitcode(status))
            elif self._is_forking():
                self._strangers[pid] = os.waitstatus_to_exitcode(status)
            else:
                self._strangers.clear()

    def _is_forking(self) -> bool:
        return any(child._forker is not None and child._forker.is_busy for child in self)

    def _bury(self, child: Child, exit_code: int) -> None:
        if child._process is not None:
            child._process.returncode = exit_code
        if child.pid is not None:
            _signal_session(child.pid, signal.SIGKILL)
        if child._status_pipe is not None:
            self._read_status(child)
            self._close_status(child)
        self._after_death(child, self._on_end(child, exit_code) or _describe(exit_code), exit_code)

    def _after_death(self, child: Child, description: str, exit_code: int | None = None) -> None:
        if child._capture is not None:
            child._capture.finish()
            child._capture = None
        _log.info("%s (pid %s) is gone: %s", child.plan.name, child.pid, child._reason or description)
        child.pid, child._process = None, None
        self._cancel_timer(child)
        if child.plan.on_exit is not None:
            child.plan.on_exit(exit_code, child._reason or description)
            self._forget(child)
        elif child.state is ReplicaState.DRAINING and child._sleeps_next:
            self._close_status(child)
            self._fall_asleep(child)
        elif child.state is ReplicaState.DRAINING and child._renews_next:
            child._renews_next = False
            child.restarts += 1
            self._remember_end(child, child._reason)
            self._start(child)
        elif child.state is ReplicaState.DRAINING:
            self._forget(child)
        else:
            ready_for = None if child._ready_since is None else self._loop.time() - child._ready_since
            child.deaths = deaths_in_a_row(child.deaths, ready_for)
            child.restarts += 1
            child.load_failed = child._reported_failure
            self._remember_end(child, child._reason or description)
            delay_s = 0.0 if child._starts_at_once else restart_delay_s(child.deaths)
            child._starts_at_once = False
            child.retry_at_ms = child.ended_at_ms + int(delay_s * 1000)
            child.state = ReplicaState.RESTARTING
            fault_point("child-before-restart")
            child._timer = self._loop.call_later(delay_s, self._start, child)
        self._on_change()

    def _remember_end(self, child: Child, why: str) -> None:
        child.message = why
        child.ended_at_ms = time.time_ns() // 1_000_000

    def _end_gently(self, child: Child, timeout_s: float) -> None:
        child.state = ReplicaState.DRAINING
        self._cancel_timer(child)
        if child.pid is not None:
            _signal_process(child.pid, signal.SIGTERM)
        child._timer = self._loop.call_later(timeout_s, self._kill, child)

    def _fall_asleep(self, child: Child) -> None:
        child.state = ReplicaState.ASLEEP
        child._sleeps_next = False
        child.deaths, child.message = 0, ""
        for listener in child.plan.listeners:
            self._loop.add_reader(listener, self._wake_by_connection, child)

    def _wake_by_connection(self, child: Child) -> None:
        child.was_woken = True
        self._end_sleep(child)
        self._start(child)

    def _end_sleep(self, child: Child) -> None:
        for listener in child.plan.listeners:
            self._loop.remove_reader(listener)

    def _forget(self, child: Child) -> None:
        self._close_status(child)
        if child._capture is not None:
            child._capture.finish()
            child._capture = None
        for listener in child.plan.listeners:
            listener.close()
        del self._children[child.plan.name]

    def _kill(self, child: Child) -> None:
        if child.pid is not None:
            _signal_session(child.pid, signal.SIGKILL)

    def _close_status(self, child: Child) -> None:
        if child._status_pipe is not None:
            self._loop.remove_reader(child._status_pipe)
            os.close(child._status_pipe)
            child._status_pipe = None

    def _cancel_timer(self, child: Child) -> None:
        if child._timer is not None:
            child._timer.cancel()
            child._timer = None


def _signal_process(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _signal_session(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _describe(exit_code: int) -> str:
    if exit_code < 0:
        return f"The process was killed by signal {-exit_code} ({signal.strsignal(-exit_code)})."
    return f"The process ended with exit code {exit_code}."
