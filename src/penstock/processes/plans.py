"""What each process of a stack is told, in which environment it runs, and what it inherits."""

import hashlib
import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from penstock.control.logs import log_file
from penstock.domain.access import agent_token
from penstock.domain.confinement import Confinement
from penstock.domain.devices import VISIBLE, assign
from penstock.domain.jobs.task_spec import ROLE, TaskSpec, access_key
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec, may_be_forked
from penstock.domain.secrets import Plaintext
from penstock.processes.environment import (
    environment_settings,
    replica_environment,
    system_environment,
    task_environment,
)
from penstock.processes.launch import (
    ControlPlaneLaunch,
    GatewayLaunch,
    Launch,
    MlflowLaunch,
    SpoolLaunch,
    TableWriterLaunch,
    TaskLaunch,
    WorkerLaunch,
    ZygoteLaunch,
)
from penstock.processes.listeners import Listeners
from penstock.runtime.environments import Environments
from penstock.runtime.forker import Forker
from penstock.runtime.job_files import MAX_LOG_BYTES, JobFiles
from penstock.runtime.tree import ChildPlan
from penstock.settings import Settings, workspace_id
from penstock.wire.sockets import CONTROL_PLANE, ROUTING, TABLE_WRITER, SocketFolder, slot_socket

_SPOOL_PARTS = 16
"""One of these parts of what spools may take on disk is the control plane's, the others are the gateways'."""
_TASK_GRACE_S = 5.0
"""How long after it was told to end a task is killed."""

ForkerOf = Callable[[str | None], Forker | None]
EarlierCheck = Callable[[], ModelCheck | None]


class Plans:
    """Makes the plans of one stack; its secrets are made with it and die with it."""

    def __init__(self, settings: Settings, listeners: Listeners, sockets: SocketFolder) -> None:
        self._settings = settings
        self._home = settings.home
        self._listeners = listeners
        self._sockets = sockets
        self._replica_token = secrets.token_hex(32)
        self._replica_secret = secrets.token_hex(32)
        self._environments = environment_settings(os.environ, settings)
        self._devices: dict[str, tuple[str, ...]] = {}
        """The GPUs of each slot that has some."""

    def forget(self, slot: str) -> None:
        """Nothing runs in a slot any more: its socket goes, and its GPUs are free."""
        self._devices.pop(slot, None)
        self._sockets.remove(slot_socket(slot))

    def system(self) -> list[ChildPlan]:
        """The processes that every stack has."""
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
                    spool=self._spool(1 / _SPOOL_PARTS),
                    job_tasks=settings.job_tasks,
                    workspace=str(settings.workspace or ""),
                    is_secure=settings.tls is not None,
                ),
            )
        )
        table_writer = self._sockets.listen(TABLE_WRITER)
        plan = self._system_plan(
            "table-writer",
            "table-writer",
            "table_writer",
            (table_writer,),
            lambda fd: TableWriterLaunch(
                parent_pid=os.getpid(),
                status_fd=fd,
                home=home,
                listen_fd=table_writer.fileno(),
                workspace_id=str(workspace_id(self._home.path)),
                flush_s=settings.table_flush_s,
                keeps_days=settings.table_retention_days,
                parked_max_bytes=settings.spool_max_mb << 20,
                max_body_bytes=settings.log_max_body_kb << 10,
            ),
        )
        # What is freed in one thread's arena is not there for another's: delta-rs has many threads.
        plans.append(replace(plan, environment={**plan.environment, "MALLOC_ARENA_MAX": "2"}))
        gateways = [f"gateway-{index}" for index in range(settings.gateways)]
        return plans + [self._gateway(name, gateways) for name in gateways]

    def _gateway(self, name: str, gateways: Sequence[str]) -> ChildPlan:
        """One of the gateways of these names."""
        settings, listeners = self._settings, self._listeners
        return self._system_plan(
            name,
            "gateway",
            "gateway",
            listeners.sockets,
            lambda fd: GatewayLaunch(
                parent_pid=os.getpid(),
                status_fd=fd,
                home=str(self._home.path),
                name=name,
                siblings=tuple(other for other in gateways if other != name),
                listen_fd=listeners.public.fileno(),
                local_fd=None if listeners.local is None else listeners.local.fileno(),
                tls=settings.tls,
                cors_origins=settings.cors_origins,
                hold_timeout_s=settings.hold_timeout_s,
                idle_timeout_s=settings.idle_timeout_s,
                log_max_body_bytes=settings.log_max_body_kb << 10,
                spool=self._spool((_SPOOL_PARTS - 1) / _SPOOL_PARTS / settings.gateways),
                tracking_authorization=settings.tracking_authorization,
                tracking_uri=settings.tracking_uri,
                otlp_endpoint=settings.otlp_endpoint,
                trace_fraction=settings.trace_fraction,
            ),
        )

    def _spool(self, share: float) -> SpoolLaunch:
        """For a process with that share of what all spools may take."""
        return SpoolLaunch(int((self._settings.spool_max_mb << 20) * share), self._settings.spool_sync_ms / 1000)

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

    def zygote(self, name: str, environment: str, forker: Forker) -> ChildPlan:
        """The fork server of an environment; empty for ours."""
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

    def replica(
        self, spec: ReplicaSpec, secrets: Mapping[str, Plaintext], forker: ForkerOf, earlier_check: EarlierCheck
    ) -> ChildPlan:
        """A replica.

        Args:
            spec: what it serves.
            secrets: its variables that are secret.
            forker: given the environment in which it ran last, what forks it.
            earlier_check: what an earlier replica told of the same model, asked whenever it is started.
        """
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
                    url=self._listeners.local_url,
                    agent_token=agent_token(self._replica_secret, spec.deployment),
                    tracking_uri=tracking_uri or self._listeners.local_url,
                    tracking_token=self._replica_token if tracking_uri is None else None,
                    spec=spec,
                    environments=self._environments,
                    earlier_check=earlier_check(),
                )
            ),
            start_log=log_file(self._home.logs, spec, "build"),
            run_log=log_file(self._home.logs, spec, "service"),
            environment=replica_environment(os.environ, self._home, own, with_credentials=tracking_uri is not None),
            folder=self._home.run,
            listeners=(listener,),
            drain_timeout_s=spec.drain_timeout_s,
            forker=forker if may_be_forked(own) else lambda _: None,
            confinement=spec.confinement,
            group=spec.deployment,
        )

    def task(self, spec: TaskSpec, on_exit: Callable[[int | None, str], None]) -> ChildPlan:
        """An attempt at a task of a job; `on_exit` is told how it ended.

        Like replicas of agents it gets a token of its own, which is worth nothing once it has ended.
        """
        settings, url = self._settings, self._listeners.local_url
        token = agent_token(self._replica_secret, access_key(spec.attempt_id))
        files = JobFiles(self._home.jobs)
        attempt = files.attempt(spec.run_id, spec.attempt_id)
        own = {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": token, **spec.environment}
        if settings.tracking_uri is None:
            own |= {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": token}
        else:
            own |= {name: text for name, text in os.environ.items() if name.startswith("MLFLOW_TRACKING_")}
            own["MLFLOW_TRACKING_URI"] = settings.tracking_uri
        return ChildPlan(
            name=spec.name,
            role=ROLE,
            module="penstock.processes.task",
            document=lambda status_fd: msgspec.json.encode(
                TaskLaunch(
                    parent_pid=os.getpid(),
                    status_fd=status_fd,
                    home=str(self._home.path),
                    spec=spec,
                    folder=str(attempt.folder),
                )
            ),
            start_log=attempt.log,
            run_log=attempt.log,
            environment=task_environment(os.environ, self._home, own),
            folder=files.work(spec.run_id),
            drain_timeout_s=_TASK_GRACE_S,
            confinement=Confinement(
                settings.job_memory_mb,
                settings.job_process_limit,
                subject="task",
                setting="PENSTOCK_JOB_MEMORY_MB",
                tasks_setting="PENSTOCK_JOB_PROCESS_LIMIT",
            ),
            on_exit=on_exit,
            max_log_bytes=MAX_LOG_BYTES,
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
