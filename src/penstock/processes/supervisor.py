"""The supervisor: owns the listening socket, the launch specs and every other process.

It imports no model library and decides nothing about endpoints. Its children are the gateways, the control plane, the
table writer, the MLflow server (unless an existing one is used) and one process per replica; all are restarted when
they die.
"""

import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path

from penstock.domain.jobs.task_spec import ROLE as TASK
from penstock.domain.jobs.task_spec import TaskSpec
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec, ReplicaState
from penstock.domain.secrets import Plaintext
from penstock.faults import arm, fault_point, forget_fired
from penstock.processes.environment import kill_leftovers
from penstock.processes.launch import log_as_json
from penstock.processes.listeners import CannotListen, Listeners
from penstock.processes.plans import Plans
from penstock.runtime.capture import MAX_LOG_BYTES, read_log
from penstock.runtime.environments import Environments
from penstock.runtime.fork_servers import ForkServers
from penstock.runtime.forker import Forker
from penstock.runtime.job_files import AttemptFiles, JobFiles
from penstock.runtime.lock import Locked, lock
from penstock.runtime.parent import adopt_orphans
from penstock.runtime.supervisor_server import CannotRun, SupervisorServer
from penstock.runtime.tree import Child, ProcessTree
from penstock.runtime.warden import Warden
from penstock.settings import PARTIAL_SUFFIX, Home, Settings
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import CONTROL_PLANE, ROUTING, SUPERVISOR, TABLE_WRITER, SocketFolder

_log = logging.getLogger(__name__)

_MAX_START_DEATHS = 3
_STOP_TIMEOUT_S = 45.0
_GRACE_S = {
    "gateway": 35.0,
    TASK: 3.0,
    "replica": 3.0,
    "zygote": 3.0,
    "control-plane": 15.0,
    "mlflow": 10.0,
    "table-writer": 30.0,
}
"""Roles in the order in which they are ended, and how long after being told to a process is killed."""


class CannotStart(Exception):
    """The stack cannot be started; the message says why and what to do."""


class AlreadyRunning(CannotStart):
    """Another supervisor holds the home folder."""


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that has come up."""

    url: str
    """For clients."""
    local_url: str
    """For our own processes and commands: plain HTTP on this machine, whatever clients are served."""
    home: Path
    pid: int
    mlflow_url: str


OnReady = Callable[[Running], Awaitable[None]]
"""Called once the stack answers."""


async def supervise(settings: Settings, on_ready: OnReady) -> None:
    """Run a stack until SIGTERM or SIGINT.

    Raises:
        CannotStart: the port or the home is taken, or a process of the stack does not come up.
    """
    home = settings.home
    _make_folders(home)
    with _lock_of(home), _logging_to(home):
        kill_leftovers(home)
        forget_fired(home.run)
        arm(settings.fault, home.run)
        for unfinished in home.artifacts.glob(f"*{PARTIAL_SUFFIX}"):
            shutil.rmtree(unfinished, ignore_errors=True)
        Environments(home.environments).remove_unfinished()
        try:
            listeners = Listeners.open(settings)
        except CannotListen as exc:
            raise CannotStart(str(exc)) from exc
        try:
            await Supervisor(settings, listeners).run(on_ready)
        finally:
            listeners.close()
            home.status_file.unlink(missing_ok=True)


class Supervisor:
    """One stack."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = settings
        self._home = settings.home
        self._listeners = listeners
        self._sockets = SocketFolder(settings.home.run)
        self._plans = Plans(settings, listeners, self._sockets)
        self._specs: dict[str, ReplicaSpec] = {}
        self._started_at_ms = time.time_ns() // 1_000_000
        self._server = SupervisorServer(self._describe, self)
        self._tree = ProcessTree(self._on_change, self._on_end)
        self._warden = Warden(self._tree)
        self._fork_servers = ForkServers(self._tree, self._plans.zygote) if sys.platform == "linux" else None
        self._stopping = asyncio.Event()

    async def run(self, on_ready: OnReady) -> None:
        """Start everything, wait until told to stop, stop everything."""
        adopt_orphans()
        _raise_file_limit()
        _log.info("limits of replicas are %s; %d GPU(s)", self._warden.method, len(self._settings.devices))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = await self._server.start(self._sockets.listen(SUPERVISOR), self._tree)
        try:
            for plan in self._plans.system():
                self._tree.add(plan)
            if self._fork_servers is not None:
                self._fork_servers.start()
            running = await self._wait_until_ready()
            if running is not None:
                self._write_status(running)
                await on_ready(running)
                await self._stopping.wait()
        finally:
            await self._stop_all()
            self._warden.close()
            server.close()
            for name in (SUPERVISOR, CONTROL_PLANE, ROUTING, TABLE_WRITER):
                self._sockets.remove(name)

    def launch(
        self, spec: ReplicaSpec, secrets: Mapping[str, Plaintext], *, is_asleep: bool, check: ModelCheck | None
    ) -> None:
        """Keep a replica in the spec's slot, running or asleep; one that is there already is woken if it is to run.

        Secrets stay in this process's memory, for restarts, and reach the replica in its environment alone.
        """
        if self._stopping.is_set():
            return
        if spec.slot not in self._tree:
            self._specs[spec.slot] = spec
            forker = partial(self._forker_of, spec.deployment)
            plan = self._plans.replica(spec, secrets, forker, lambda: self._tree.check_of(spec.slot) or check)
            self._tree.add(plan, is_asleep=is_asleep)
        elif not is_asleep:
            self._tree.wake(spec.slot)

    def run_task(self, spec: TaskSpec) -> None:
        """Have an attempt at a task run once, whatever becomes of it.

        Raises:
            CannotRun: the stack is stopping, or nothing can be written.
        """
        if self._stopping.is_set():
            raise CannotRun("the stack is stopping")
        files = JobFiles(self._home.jobs)
        attempt = files.attempt(spec.run_id, spec.attempt_id)
        try:
            files.work(spec.run_id).mkdir(parents=True, exist_ok=True, mode=0o700)
            if attempt.begin():
                self._tree.add(self._plans.task(spec, partial(self._on_task_exit, attempt)))
        except OSError as exc:
            raise CannotRun(f"the run's folder cannot be written: {exc}") from exc

    def _on_task_exit(self, attempt: AttemptFiles, exit_code: int | None, message: str) -> None:
        try:
            attempt.note_exit(exit_code, message, is_with_stack=self._stopping.is_set())
        except OSError as exc:
            _log.error("the end of a task cannot be noted in %s: %s", attempt.folder, exc)

    def spec_of(self, name: str) -> ReplicaSpec | None:
        """What was launched in a slot."""
        return self._specs.get(name)

    def _on_change(self) -> None:
        for slot in [slot for slot in self._specs if slot not in self._tree]:
            del self._specs[slot]
            self._plans.forget(slot)
        if self._fork_servers is not None:
            self._fork_servers.follow()
        self._warden.attend()
        self._server.notify()

    def _on_end(self, child: Child, exit_code: int) -> str | None:
        return self._warden.bury(child, exit_code)

    def _forker_of(self, deployment: str, environment: str | None) -> Forker | None:
        """What forks a replica that ran in an environment last; of a new one, that in which others of its kind run."""
        if self._fork_servers is None:
            return None
        if environment is None:
            kin = (child.environment for child in self._tree if self._is_of(child.plan.name, deployment))
            environment = next(filter(None, kin), None)
        return self._fork_servers.forker(environment)

    def _is_of(self, slot: str, deployment: str) -> bool:
        spec = self._specs.get(slot)
        return spec is not None and spec.deployment == deployment

    def _describe(self) -> ProcessInfo:
        return ProcessInfo(os.getpid(), "supervisor", "ready", "supervisor", self._started_at_ms)

    async def _wait_until_ready(self) -> Running | None:
        """The running stack; None if it was told to stop before it came up."""
        while not self._stopping.is_set():
            system = [child for child in self._tree if child.plan.role not in {"replica", "zygote", TASK}]
            for child in system:
                if child.load_failed or child.deaths >= _MAX_START_DEATHS:
                    tail = read_log(child.plan.run_log, 2000)
                    raise CannotStart(f"The {child.plan.name} process does not start: {child.message}\n{tail}")
            if all(child.state is ReplicaState.READY for child in system) and await self._is_healthy():
                url, local_url = self._listeners.url, self._listeners.local_url
                return Running(url, local_url, self._home.path, os.getpid(), self._settings.tracking_uri or url)
            await asyncio.sleep(0.05)
        return None

    async def _is_healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(*self._listeners.local_address)
            writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = await reader.read(64)
            writer.close()
        except OSError:
            return False
        return answer.startswith(b"HTTP/1.1 200")

    def _write_status(self, running: Running) -> None:
        document = {
            "url": running.url,
            "local_url": running.local_url,
            "pid": running.pid,
            "mlflow_url": running.mlflow_url,
            "limits": self._warden.method,
            "gpus": list(self._settings.devices),
        }
        temporary = self._home.status_file.with_suffix(".new")
        temporary.write_text(json.dumps(document))
        fault_point("status-before-rename")
        temporary.replace(self._home.status_file)

    async def _stop_all(self) -> None:
        """Gateways first, so that what is in flight is answered by replicas that still run.

        Once the gateways are gone nobody waits for a prediction: a replica that is still at one is not waited for.
        """
        self._stopping.set()
        self._listeners.public.close()  # once the gateways have closed theirs, new connections are refused
        for role, grace_s in _GRACE_S.items():
            for child in [child for child in self._tree if child.plan.role == role]:
                self._tree.remove(child.plan.name, grace_s)
            while any(child.plan.role == role for child in self._tree):  # noqa: ASYNC110 - they end in callbacks
                await asyncio.sleep(0.01)
        await self._tree.close(_STOP_TIMEOUT_S)


def _make_folders(home: Home) -> None:
    try:
        for folder in (home.path, home.run, home.logs, home.mlflow, home.artifacts, home.environments):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
    except OSError as exc:
        raise CannotStart(f"The home folder {home.path} cannot be used: {exc}.") from exc


@contextlib.contextmanager
def _lock_of(home: Home) -> Iterator[None]:
    try:
        with lock(home.lock_file):
            yield
    except Locked:
        raise AlreadyRunning(f"A stack is running already on the home folder {home.path}.") from None


@contextlib.contextmanager
def _logging_to(home: Home) -> Iterator[None]:
    """The supervisor's own log, beside those of its children."""
    home.system_logs.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(home.system_logs / "supervisor.log", maxBytes=MAX_LOG_BYTES, backupCount=1)
    log_as_json(handler)
    try:
        yield
    finally:
        handler.close()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
