"""The supervisor: owns the listening socket, the launch specs and every other process.

It imports no model library and decides nothing about endpoints. Its children are the gateways, the control plane, the
MLflow server (unless an existing one is used) and one process per replica; all are restarted when they die.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import resource
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from penstock.control.logs import log_file
from penstock.domain.access import agent_token
from penstock.domain.devices import VISIBLE, assign
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec, ReplicaState, may_be_forked
from penstock.domain.secrets import Plaintext
from penstock.faults import arm, fault_point, forget_fired
from penstock.processes.environment import (
    environment_settings,
    kill_leftovers,
    replica_environment,
    system_environment,
)
from penstock.processes.launch import (
    ControlPlaneLaunch,
    GatewayLaunch,
    Launch,
    MlflowLaunch,
    WorkerLaunch,
    ZygoteLaunch,
    log_as_json,
)
from penstock.processes.tls import host_for_clients
from penstock.runtime.capture import MAX_LOG_BYTES, read_log
from penstock.runtime.environments import Environments
from penstock.runtime.fork_servers import ForkServers
from penstock.runtime.forker import Forker
from penstock.runtime.lock import Locked, lock
from penstock.runtime.parent import adopt_orphans
from penstock.runtime.supervisor_server import SupervisorServer
from penstock.runtime.tree import Child, ChildPlan, ProcessTree
from penstock.runtime.warden import Warden
from penstock.settings import PARTIAL_SUFFIX, Home, Settings
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import CONTROL_PLANE, ROUTING, SUPERVISOR, SocketFolder, slot_socket

_log = logging.getLogger(__name__)

_BACKLOG = 2048
_LOCAL_HOST = "127.0.0.1"
_MAX_START_DEATHS = 3
_STOP_TIMEOUT_S = 45.0
_GRACE_S = {"gateway": 35.0, "replica": 3.0, "zygote": 3.0, "control-plane": 15.0, "mlflow": 10.0}
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
        with contextlib.ExitStack() as open_sockets:
            listener = open_sockets.enter_context(_listen(settings.host, settings.port))
            local = open_sockets.enter_context(_listen(_LOCAL_HOST, 0)) if settings.tls else None
            try:
                await Supervisor(settings, listener, local).run(on_ready)
            finally:
                home.status_file.unlink(missing_ok=True)


class Supervisor:
    """One stack."""

    def __init__(self, settings: Settings, listener: socket.socket, local: socket.socket | None) -> None:
        """`local` is where gateways serve plain HTTP to our own processes if they serve TLS on `listener`."""
        self._settings = settings
        self._home = settings.home
        self._listener = listener
        self._local = local
        self._sockets = SocketFolder(settings.home.run)
        self._specs: dict[str, ReplicaSpec] = {}
        self._started_at_ms = time.time_ns() // 1_000_000
        self._replica_token = secrets.token_hex(32)
        self._replica_secret = secrets.token_hex(32)
        self._server = SupervisorServer(self._describe, self)
        self._tree = ProcessTree(self._on_change, self._on_end)
        self._warden = Warden(self._tree)
        self._devices: dict[str, tuple[str, ...]] = {}
        """The GPUs of each slot that has some."""
        self._fork_servers = ForkServers(self._tree, self._zygote_plan) if sys.platform == "linux" else None
        self._environments = environment_settings(os.environ, settings)
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
            for plan in self._system_plans():
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
            for name in (SUPERVISOR, CONTROL_PLANE, ROUTING):
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
            self._tree.add(self._replica_plan(spec, secrets, check), is_asleep=is_asleep)
        elif not is_asleep:
            self._tree.wake(spec.slot)

    def spec_of(self, name: str) -> ReplicaSpec | None:
        """What was launched in a slot."""
        return self._specs.get(name)

    def _on_change(self) -> None:
        for slot in [slot for slot in self._specs if slot not in self._tree]:
            del self._specs[slot]
            self._devices.pop(slot, None)
            self._sockets.remove(slot_socket(slot))
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

    def _system_plans(self) -> list[ChildPlan]:
        settings, home = self._settings, str(self._home.path)
        control_plane = self._sockets.listen(CONTROL_PLANE)
        routing = self._sockets.listen(ROUTING)
        plans = []
        if settings.tracking_uri is None:
            plans.append(
                self._system_plan(
                    "mlflow",
                    "mlflow",
                    "mlflow_server",
                    (),
                    lambda fd: MlflowLaunch(parent_pid=os.getpid(), status_fd=fd, home=home),
                )
            )
        plans.append(
            self._system_plan(
                "control-plane",
                "control-plane",
                "control_plane",
                (control_plane, routing),
                lambda fd: ControlPlaneLaunch(
                    parent_pid=os.getpid(),
                    status_fd=fd,
                    home=home,
                    listen_fd=control_plane.fileno(),
                    routing_fd=routing.fileno(),
                    limits=settings.limits,
                    replica_secret=self._replica_secret,
                    replica_token_digest=hashlib.sha256(self._replica_token.encode()).hexdigest(),
                    tracking_uri=settings.tracking_uri,
                    tracking_authorization=settings.tracking_authorization,
                    alias_poll_s=settings.alias_poll_s,
                    is_secure=settings.tls is not None,
                ),
            )
        )
        plans += [
            self._system_plan(
                f"gateway-{index}",
                "gateway",
                "gateway",
                (self._listener,) if self._local is None else (self._listener, self._local),
                lambda fd: GatewayLaunch(
                    parent_pid=os.getpid(),
                    status_fd=fd,
                    home=home,
                    listen_fd=self._listener.fileno(),
                    local_fd=None if self._local is None else self._local.fileno(),
                    tls=settings.tls,
                    cors_origins=settings.cors_origins,
                    hold_timeout_s=settings.hold_timeout_s,
                    tracking_authorization=settings.tracking_authorization,
                    tracking_uri=settings.tracking_uri,
                ),
            )
            for index in range(settings.gateways)
        ]
        return plans

    def _system_plan(
        self,
        name: str,
        role: str,
        module: str,
        listeners: tuple[socket.socket, ...],
        launch: Callable[[int], Launch],
    ) -> ChildPlan:
        log = self._home.system_logs / f"{name}.log"
        return ChildPlan(
            name=name,
            role=role,
            module=f"penstock.processes.{module}",
            document=lambda status_fd: msgspec.json.encode(launch(status_fd)),
            start_log=log,
            run_log=log,
            environment=system_environment(os.environ, self._home),
            folder=self._home.run,
            listeners=listeners,
        )

    def _zygote_plan(self, name: str, environment: str, forker: Forker) -> ChildPlan:
        plan = self._system_plan(
            name,
            "zygote",
            "zygote",
            (forker.server_end,),
            lambda fd: ZygoteLaunch(
                parent_pid=os.getpid(),
                status_fd=fd,
                home=str(self._home.path),
                command_fd=forker.server_end.fileno(),
            ),
        )
        variables = replica_environment(os.environ, self._home, {}, with_credentials=False)
        if not environment:
            return replace(plan, environment=variables)
        foreign = Environments(self._home.environments).of(environment)
        return replace(plan, environment=foreign.variables(variables, ()), python=str(foreign.python))

    def _replica_plan(self, spec: ReplicaSpec, secrets: Mapping[str, Plaintext], check: ModelCheck | None) -> ChildPlan:
        own = {
            **self._pinned(spec),
            **spec.environment,
            **{name: secret.text for name, secret in secrets.items()},
        }
        listener = self._sockets.listen(slot_socket(spec.slot))
        tracking_uri = self._settings.tracking_uri
        return ChildPlan(
            name=spec.slot,
            role="replica",
            module="penstock.processes.worker",
            document=lambda status_fd: msgspec.json.encode(
                WorkerLaunch(
                    parent_pid=os.getpid(),
                    status_fd=status_fd,
                    home=str(self._home.path),
                    listen_fd=listener.fileno(),
                    url=self._local_url(),
                    agent_token=agent_token(self._replica_secret, spec.deployment),
                    tracking_uri=tracking_uri or self._local_url(),
                    tracking_token=self._replica_token if tracking_uri is None else None,
                    spec=spec,
                    environments=self._environments,
                    earlier_check=self._tree.check_of(spec.slot) or check,
                )
            ),
            start_log=log_file(self._home.logs, spec, "build"),
            run_log=log_file(self._home.logs, spec, "service"),
            environment=replica_environment(os.environ, self._home, own, with_credentials=tracking_uri is not None),
            folder=self._home.run,
            listeners=(listener,),
            drain_timeout_s=spec.drain_timeout_s,
            forker=partial(self._forker_of, spec.deployment) if may_be_forked(own) else lambda _: None,
            confinement=spec.confinement,
            group=spec.deployment,
        )

    def _pinned(self, spec: ReplicaSpec) -> dict[str, str]:
        """The variables that give a replica its GPUs, those that the fewest others have unless it names its own."""
        if not spec.gpus:
            return {}
        if VISIBLE in spec.environment:
            own = tuple(spec.environment[VISIBLE].split(","))
        else:
            own = assign(self._settings.devices, self._devices.values(), spec.gpus)
        self._devices[spec.slot] = own
        return {VISIBLE: ",".join(own), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}

    def _url(self) -> str:
        """The address for clients; without TLS the one for clients on this machine."""
        host, port = _address(self._listener)
        if self._settings.tls is None:
            return _origin("http", host, port)
        return _origin("https", host_for_clients((self._settings.host, host), self._settings.tls.names), port)

    def _local_url(self) -> str:
        """The address for our own processes, which need not know what a certificate is for."""
        return _origin("http", *_address(self._local or self._listener))

    async def _wait_until_ready(self) -> Running | None:
        """The running stack; None if it was told to stop before it came up."""
        while not self._stopping.is_set():
            system = [child for child in self._tree if child.plan.role not in {"replica", "zygote"}]
            for child in system:
                if child.load_failed or child.deaths >= _MAX_START_DEATHS:
                    tail = read_log(child.plan.run_log, 2000)
                    raise CannotStart(f"The {child.plan.name} process does not start: {child.message}\n{tail}")
            if all(child.state is ReplicaState.READY for child in system) and await self._is_healthy():
                url = self._url()
                return Running(url, self._local_url(), self._home.path, os.getpid(), self._settings.tracking_uri or url)
            await asyncio.sleep(0.05)
        return None

    async def _is_healthy(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(*_address(self._local or self._listener))
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
        self._listener.close()  # once the gateways have closed theirs, a new connection is refused and waits for nobody
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


def _address(listener: socket.socket) -> tuple[str, int]:
    """Host and port by which a listener is reached from this machine."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as exc:
        if listener is not None:
            listener.close()
        raise CannotStart(
            f"Cannot listen on {host}:{port}: {exc.strerror or exc}. "
            "Choose another port with --port (0 takes a free one), or another address with --host."
        ) from exc
    return listener


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
