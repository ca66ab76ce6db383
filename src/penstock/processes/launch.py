"""How a child process begins: the document on its standard input, its bond with the supervisor, its log.

Nothing is passed in arguments or in the environment that could not be shown to every user of the machine.
"""

import logging
import os
import sys
from pathlib import Path
from typing import TypeVar

import msgspec
from pythonjsonlogger.json import JsonFormatter

from penstock import faults
from penstock.domain.environment import EnvManager
from penstock.domain.jobs.task_spec import TaskSpec
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec
from penstock.runtime.parent import die_with_parent
from penstock.settings import Home, TlsFiles
from penstock.wire.messages import StatusReport, encode_line


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What every child is told."""

    parent_pid: int
    status_fd: int
    home: str


class SpoolLaunch(msgspec.Struct, frozen=True):
    """How a process writes its spool."""

    max_bytes: int
    sync_s: float


class GatewayLaunch(Launch, frozen=True, kw_only=True):
    """What a gateway is told."""

    name: str
    siblings: tuple[str, ...]
    """Names of the other gateways."""
    listen_fd: int
    local_fd: int | None
    """The listener for our own processes where `listen_fd` is served over TLS."""
    tls: TlsFiles | None
    cors_origins: tuple[str, ...]
    hold_timeout_s: float
    idle_timeout_s: float
    spool: SpoolLaunch
    log_max_body_bytes: int
    tracking_uri: str | None
    tracking_authorization: str | None
    otlp_endpoint: str = ""
    """Of a collector of traces; without one none are made."""
    trace_fraction: float = 1.0


class ControlPlaneLaunch(Launch, frozen=True, kw_only=True):
    """What the control plane is told."""

    listen_fd: int
    routing_fd: int
    limits: Limits
    replica_token_digest: str
    replica_secret: str
    tracking_uri: str | None
    tracking_authorization: str | None
    alias_poll_s: float
    spool: SpoolLaunch
    job_tasks: int
    workspace: str
    """The folder that stands for the workspace of jobs; empty if paths are those of this machine."""
    is_secure: bool
    """Whether clients reach the gateways over TLS."""


class TableWriterLaunch(Launch, frozen=True, kw_only=True):
    """What the table writer is told."""

    listen_fd: int
    workspace_id: str
    flush_s: float
    keeps_days: int
    parked_max_bytes: int
    max_body_bytes: int


class MlflowLaunch(Launch, frozen=True, kw_only=True):
    """What the shell around the MLflow server is told."""


class ZygoteLaunch(Launch, frozen=True, kw_only=True):
    """What the fork server is told."""

    command_fd: int


class EnvironmentSettings(msgspec.Struct, frozen=True):
    """How Python environments of models are built."""

    folder: str
    """Where they are kept."""
    manager: EnvManager
    """Who provides them, unless a served entity says otherwise."""
    wheelhouse: str | None
    """The only place from which they are built, if there is one."""
    variables: dict[str, str]
    """For the installer; they may hold passwords of package indexes."""


class WorkerLaunch(Launch, frozen=True, kw_only=True):
    """What a replica is told."""

    listen_fd: int
    url: str
    agent_token: str
    tracking_uri: str
    tracking_token: str | None
    spec: ReplicaSpec
    environments: EnvironmentSettings
    earlier_check: ModelCheck | None = None
    """What an earlier replica of the same deployment found out about the model."""


class TaskLaunch(Launch, frozen=True, kw_only=True):
    """What the process of an attempt at a task of a job is told."""

    spec: TaskSpec
    folder: str
    """The attempt's own."""


class CheckLaunch(Launch, frozen=True, kw_only=True):
    """What a process is told that checks one model and ends. Its `home` is a folder for what it has to fetch."""

    uri: str
    tracking_uri: str | None
    tracking_token: str | None
    environments: EnvironmentSettings
    environment: dict[str, str]
    """As a served entity would have it in `environment_vars`."""
    request_timeout_s: float


class PredictLaunch(CheckLaunch, frozen=True, kw_only=True):
    """What a process is told that times `predict` of one model and ends."""

    body: bytes | None
    """The request whose input it is called with; None for the model's own example."""
    seconds: float


_L = TypeVar("_L", bound=Launch)


def begin(kind: type[_L], *, dies_at_once: bool = True) -> _L:
    """Read the document, tie this process to its parent, and log to standard error as JSON lines."""
    launch = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
    if dies_at_once:
        die_with_parent(launch.parent_pid)
    log_as_json(logging.StreamHandler())
    faults.arm(os.environ.pop(faults.VARIABLE, ""), Home(Path(launch.home)).run)  # popped: not for its own children
    return launch


def forget_instructions() -> None:
    """Close the document: what it tells, tokens and passwords of indexes among it, is not left for a model to read."""
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)


def log_as_json(handler: logging.Handler) -> None:
    """One JSON object a line: time, level, logger, process id, message, and the traceback if there is one."""
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{process}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "process": "pid"},
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def report_ready(launch: Launch, check: ModelCheck | None = None, environment: str = "") -> None:
    """Tell the supervisor that this process does its work from now on, and in which Python environment."""
    os.write(launch.status_fd, encode_line(StatusReport(ready=True, check=check, environment=environment)))


def report_failure(launch: Launch, message: str, check: ModelCheck | None = None) -> None:
    """Tell the supervisor why this process cannot do its work; the process should end after it."""
    os.write(launch.status_fd, encode_line(StatusReport(ready=False, message=message[:8000], check=check)))
