"""`penstock up`, `stop`, `status`, `ps`, `env`, `doctor` and `version`."""

import asyncio
import ipaddress
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from penstock import __version__
from penstock.cli.certificates import BadCertificate, checked_files
from penstock.cli.login import login_link
from penstock.cli.session import (
    FAILED,
    NOT_RUNNING,
    REFUSED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    running_stack,
    settings_for,
    stderr,
)
from penstock.client.api import ApiClient, ApiError, Unreachable
from penstock.client.supervisor import SupervisorClient, SupervisorUnreachable
from penstock.processes.supervisor import AlreadyRunning, CannotStart, Running, supervise
from penstock.runtime.cgroups import obstacle, own_facts
from penstock.runtime.warden import method
from penstock.settings import Settings, TlsFiles, tracking_authorization
from penstock.wire.messages import ProcessInfo
from penstock.wire.sockets import SocketFolder

HostOption = Annotated[str | None, typer.Option("--host", help="Address to listen on; $PENSTOCK_HOST, else 127.0.0.1.")]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65535, help="Port to listen on; $PENSTOCK_PORT, else 8080. 0 takes a free one."),
]
GatewaysOption = Annotated[int, typer.Option("--gateways", min=1, max=64, help="Number of gateway processes.")]
TrackingOption = Annotated[
    str | None,
    typer.Option("--tracking-uri", help="An existing MLflow tracking server to use (http or https)."),
]

CertOption = Annotated[
    Path | None, typer.Option("--tls-cert", help="Serve TLS with this certificate (PEM, with its chain).")
]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", help="The certificate's key (PEM, no passphrase).")]

WheelhouseOption = Annotated[
    Path | None,
    typer.Option(
        "--wheelhouse",
        help="Build environments of models from the wheels in this folder alone, offline; else $PENSTOCK_WHEELHOUSE.",
    ),
]

_LOGIN_TIMEOUT_S = 5.0
_MIN_FREE_BYTES = 1 << 30


def stack_settings(
    home: Path | None,
    host: str | None,
    port: int | None,
    gateways: int = 1,
    tracking_uri: str | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    wheelhouse: Path | None = None,
) -> Settings:
    """Settings with what the command line says; raises CommandFailed for what cannot be."""
    settings = settings_for(home)
    if tracking_uri is not None and not tracking_uri.startswith(("http://", "https://")):
        raise CommandFailed(f"--tracking-uri: got '{tracking_uri}'; wanted an address that begins with http.", USAGE)
    wheels = settings.wheelhouse if wheelhouse is None else wheelhouse.expanduser().resolve()
    if wheels is not None and not wheels.is_dir():
        name = "PENSTOCK_WHEELHOUSE" if wheelhouse is None else "--wheelhouse"
        raise CommandFailed(f"{name}: got '{wheels}'; wanted a folder that exists.", USAGE)
    return replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        gateways=gateways,
        tls=_tls_files(tls_cert, tls_key),
        wheelhouse=wheels,
        tracking_uri=tracking_uri,
        tracking_authorization=None if tracking_uri is None else tracking_authorization(os.environ),
    )


@command
def up(
    home: HomeOption = None,
    host: HostOption = None,
    port: PortOption = None,
    gateways: GatewaysOption = 1,
    tracking_uri: TrackingOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    wheelhouse: WheelhouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a stack and keep it running until Ctrl-C."""
    settings = stack_settings(home, host, port, gateways, tracking_uri, tls_cert, tls_key, wheelhouse)
    if settings.tls is None and not _is_loopback(settings.host):
        stderr.print(
            f"[bold yellow]Warning:[/] listening on {settings.host} without TLS: tokens and data cross the network "
            "in clear. Give --tls-cert and --tls-key, or listen on 127.0.0.1."
        )
    stderr.print(f"Starting Penstock {__version__} on {settings.home.path} …", soft_wrap=True)

    async def on_ready(running: Running) -> None:
        token = settings.home.token_file.read_text().strip()
        if as_json:
            document = {"url": running.url, "token": token, "home": str(running.home), "pid": running.pid}
            print(json.dumps({**document, "mlflow_url": running.mlflow_url}), flush=True)
            return
        stderr.print(f"Ready.  API      {running.url}")
        stderr.print(f"        MLflow   {running.mlflow_url}{'' if tracking_uri else '/mlflow/'}")
        stderr.print(f"        token    {settings.home.token_file}", soft_wrap=True)
        stderr.print('        clients  eval "$(penstock env)"    stop: Ctrl-C or penstock stop', soft_wrap=True)
        link = await asyncio.to_thread(_login_link, running, token)
        stderr.print(f"        login    {link}", markup=False, soft_wrap=True)

    try:
        asyncio.run(supervise(settings, on_ready))
    except AlreadyRunning as exc:
        raise CommandFailed(str(exc), REFUSED) from exc
    except CannotStart as exc:
        raise CommandFailed(str(exc)) from exc


def _login_link(running: Running, token: str) -> str:
    """A link that logs a browser in; a stack that has just come up and cannot make one is no reason to end it."""
    try:
        return login_link(ApiClient(running.local_url, token, _LOGIN_TIMEOUT_S), running.url)
    except (ApiError, Unreachable):
        return "penstock login"


def _tls_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("--tls-key", "--tls-cert") if certificate is None else ("--tls-cert", "--tls-key")
        raise CommandFailed(f"{given} was given without {missing}; TLS needs both.", USAGE)
    try:
        return checked_files(certificate.expanduser().resolve(), key.expanduser().resolve(), datetime.now(UTC))
    except BadCertificate as exc:
        raise CommandFailed(str(exc), USAGE) from exc


@command
def stop(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop the stack: requests in flight are answered first."""
    stack = running_stack(home)
    os.kill(stack.pid, signal.SIGTERM)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            os.kill(stack.pid, 0)
        except ProcessLookupError:
            break
        if not settings_for(home).home.status_file.exists():
            break
        time.sleep(0.05)
    else:
        raise CommandFailed(f"The stack (pid {stack.pid}) has not stopped within 120 s.", TIMED_OUT)
    if as_json:
        print_json({"stopped": True, "pid": stack.pid})
    else:
        stderr.print(f"Stopped (pid {stack.pid}).")


@command
def status(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Say whether a stack runs and how its endpoints stand."""
    stack = running_stack(home)
    endpoints = ApiClient(stack.local_url, stack.token).call("GET", "/api/2.0/serving-endpoints")["endpoints"]
    states = [{"name": e["name"], "creator": e["creator"], **e["state"]} for e in endpoints]
    if as_json:
        document = {"url": stack.url, "pid": stack.pid, "mlflow_url": stack.mlflow_url, "endpoints": states}
        print_json({**document, "limits": stack.limits, "gpus": stack.gpus})
        return
    stderr.print(f"Running at {stack.url} (pid {stack.pid}), {len(states)} endpoint(s).")
    stderr.print(f"Limits of replicas are {stack.limits}. GPUs: {', '.join(stack.gpus) or 'none'}.", soft_wrap=True)
    print_table(
        ("ENDPOINT", "READY", "UPDATE", "SUSPEND"),
        [(s["name"], s["ready"], s["config_update"], s["suspend"]) for s in states],
    )


@command
def ps(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all processes of the stack; works while the control plane is down."""
    running_stack(home)

    async def snapshot() -> list[ProcessInfo]:
        client = SupervisorClient(SocketFolder(settings_for(home).home.run))
        try:
            return (await client.snapshot()).processes
        finally:
            await client.close()

    try:
        processes = asyncio.run(snapshot())
    except SupervisorUnreachable as exc:
        raise CommandFailed(str(exc), NOT_RUNNING) from exc
    if as_json:
        print_json([msgspec.to_builtins(process) for process in processes])
        return
    print_table(
        ("PID", "ROLE", "STATE", "ENDPOINT", "ENTITY", "CONFIG", "ENVIRONMENT", "RSS MB", "RESTARTS"),
        [
            (
                p.pid,
                p.role,
                p.state,
                p.endpoint,
                p.entity,
                p.config_version,
                p.environment,
                (p.rss_bytes or 0) >> 20,
                p.restarts,
            )
            for p in processes
        ],
    )


@command
def env(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print export lines that point clients at this stack: eval "$(penstock env)"."""
    stack = running_stack(home)
    variables = {
        "DATABRICKS_HOST": stack.url,
        "DATABRICKS_TOKEN": stack.token,
        "MLFLOW_TRACKING_URI": stack.mlflow_url,
    }
    if stack.mlflow_url == stack.url:
        variables["MLFLOW_TRACKING_TOKEN"] = stack.token
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


@command
def show_version(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"penstock": __version__, "mlflow": version("mlflow"), "python": platform.python_version()})
    else:
        print(f"penstock {__version__}")


@command
def doctor(home: HomeOption = None, port: PortOption = None, as_json: JsonOption = False) -> None:
    """Check this machine and this home folder for what a stack needs."""
    settings = stack_settings(home, None, port)
    checks = [
        _check_platform(),
        _check_python(),
        _check_home(settings),
        _check_disk(settings),
        *_check_replicas(settings, home),
        _check_stack(settings, home),
    ]
    if as_json:
        print_json([{"check": name, "result": result, "detail": detail} for name, result, detail in checks])
    else:
        print_table(("CHECK", "RESULT", "DETAIL"), checks)
    if any(result == "fail" for _, result, _ in checks):
        sys.exit(FAILED)


Check = tuple[str, str, str]


def _check_platform() -> Check:
    if platform.system() == "Linux":
        return "platform", "ok", platform.platform()
    detail = "Linux is the platform; elsewhere children may outlive a supervisor that is killed hard."
    return "platform", "warn", detail


def _check_python() -> Check:
    return "python", "ok", f"{platform.python_version()}, mlflow {version('mlflow')}"


def _check_home(settings: Settings) -> Check:
    folder = settings.home.path
    while not folder.exists():
        folder = folder.parent
    if os.access(folder, os.W_OK):
        return "home", "ok", str(settings.home.path)
    return "home", "fail", f"{folder} cannot be written to"


def _check_disk(settings: Settings) -> Check:
    folder = settings.home.path
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return "disk", "ok" if free >= _MIN_FREE_BYTES else "warn", f"{free >> 20} MB free"


def _check_replicas(settings: Settings, home: Path | None) -> tuple[Check, Check]:
    """How a running stack keeps the limits of its replicas, or one that was started from here would."""
    try:
        stack = running_stack(home)
        limits, gpus = stack.limits, stack.gpus
    except CommandFailed:
        limits, gpus = method(obstacle(own_facts())), settings.devices
    return (
        ("limits", "warn" if limits.startswith("not kept") else "ok", limits),
        ("gpus", "ok", ", ".join(gpus) or "none"),
    )


def _check_stack(settings: Settings, home: Path | None) -> Check:
    try:
        api = api_of(home)
    except CommandFailed:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, settings.port))
            except OSError as exc:
                return "port", "fail", f"{settings.host}:{settings.port}: {exc.strerror}; use --port"
        return "port", "ok", f"{settings.host}:{settings.port} is free; no stack runs on this home"
    try:
        api.call("GET", "/api/2.0/serving-endpoints")
    except (ApiError, Unreachable) as exc:
        return "stack", "fail", f"{api.url}: {exc}"
    return "stack", "ok", f"running at {api.url}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
