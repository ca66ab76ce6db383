"""`predict` of the model behind an endpoint, timed in a process of its own, for comparison."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.cli.lone_process import lone_process
from penstock.cli.session import FAILED, TIMED_OUT, CommandFailed
from penstock.processes.launch import PredictLaunch
from penstock.processes.predict_report import REPORT, PredictReport

_TIMEOUT_S = 1200.0
_SECONDS = 1.0


def time_alone(uri: str, variables: Mapping[str, str], body: bytes | None, home: Path | None) -> PredictReport:
    """How long `predict` takes for what a body holds, or for the model's own example.

    Raises:
        CommandFailed: the model cannot be had here, or cannot be loaded.
    """
    with lone_process(PredictLaunch, uri, None, variables, home, body=body, seconds=_SECONDS) as process:
        end = process.run("penstock.processes.predict_alone", _TIMEOUT_S, is_quiet=True)
        if end.exit_code is None:
            raise CommandFailed(f"{uri} was not loaded and timed within {_TIMEOUT_S:g} s.", TIMED_OUT)
        if end.report is None:
            raise CommandFailed(f"The process that loaded {uri} {end.how}.", FAILED)
        if not end.report.ready:
            raise CommandFailed(end.report.message, end.exit_code or FAILED)
        return msgspec.json.decode((process.folder / REPORT).read_bytes(), type=PredictReport)
