"""`penstock quickstart`: start a stack (or use the one that runs), and show it at work."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.session import (
    CommandFailed,
    HomeOption,
    JsonOption,
    RunningStack,
    command,
    print_json,
    running_stack,
    settings_for,
    stderr,
)
from penstock.cli.stack import (
    CertOption,
    GatewaysOption,
    HostOption,
    KeyOption,
    PortOption,
    TrackingOption,
    WheelhouseOption,
    stack_settings,
)


@command
def quickstart(
    home: HomeOption = None,
    host: HostOption = None,
    port: PortOption = None,
    gateways: GatewaysOption = 1,
    tracking_uri: TrackingOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    wheelhouse: WheelhouseOption = None,
    exit_after: Annotated[bool, typer.Option("--exit", help="Stop after the tour.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a stack, train and register two models, serve them behind a 90/10 split, and query them."""
    stack_settings(home, host, port, gateways, tracking_uri, tls_cert, tls_key, wheelhouse)
    options = [
        *(["--host", host] if host is not None else []),
        *(["--port", str(port)] if port is not None else []),
        *(["--gateways", str(gateways)] if gateways != 1 else []),
        *(["--tracking-uri", tracking_uri] if tracking_uri is not None else []),
        *(["--tls-cert", str(tls_cert), "--tls-key", str(tls_key)] if tls_cert is not None else []),
        *(["--wheelhouse", str(wheelhouse)] if wheelhouse is not None else []),
    ]
    with _stack(home, options) as (stack, is_ours):
        from penstock.cli.tour import take_tour  # noqa: PLC0415 - brings scikit-learn, MLflow and the SDK with it

        summary = take_tour(stack, settings_for(home).home)
        if as_json:
            print_json(summary)
        if is_ours and not exit_after:
            stderr.print("\nThe stack keeps running. Press Ctrl-C to stop it.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


@contextlib.contextmanager
def _stack(home: Path | None, options: list[str]) -> Iterator[tuple[RunningStack, bool]]:
    """The stack on the home folder: the one that runs, or one of our own that ends with the tour."""
    with contextlib.suppress(CommandFailed):
        yield running_stack(home), False
        return
    place = settings_for(home).home
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-P", "-m", "penstock", "up", "--json", "--home", str(place.path), *options],
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches the tour first, which then ends the stack in order
    )
    try:
        assert process.stdout is not None  # noqa: S101 - asked for above
        if not process.stdout.readline():
            raise CommandFailed("The stack did not start; what it said stands above.", process.wait() or 1)
        yield running_stack(home), True
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
