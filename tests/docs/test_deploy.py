"""The files in `deploy/`: what can be checked of them without a service manager and without a container."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from penstock.cli.main import app

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = (DEPLOY / "penstock.service").read_text()
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()


def test_p3_12_the_unit_is_one_that_systemd_reads(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "penstock.service"
    unit.write_text(UNIT.replace("/opt/penstock/bin/penstock", sys.executable))
    result = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_unit_lets_the_supervisor_end_its_children_and_gives_them_control_groups() -> None:
    for line in ("User=penstock", "KillMode=mixed", "Delegate=yes", "OOMPolicy=continue", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in UNIT
    for breaks_forks_or_groups in ("ProtectControlGroups=", "MemoryDenyWriteExecute=", "PrivateDevices="):
        assert f"\n{breaks_forks_or_groups}" not in UNIT
    (timeout_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)
    assert int(timeout_s) > 35 + 15 + 10 + 3 + 3, "what the supervisor gives its children, one role after the other"


def test_the_container_has_a_plain_user_and_starts_a_command_that_there_is() -> None:
    assert re.search(r"^USER 10001:10001$", CONTAINERFILE, re.MULTILINE)
    assert CONTAINERFILE.index("useradd --uid 10001") < CONTAINERFILE.index("USER 10001")
    assert "VOLUME /var/lib/penstock" in CONTAINERFILE
    (command, *options) = re.findall(r'"([^"]+)"', CONTAINERFILE.splitlines()[-1])
    up = get_command(app).commands[command]  # type: ignore[attr-defined]
    known = {name for parameter in up.params for name in parameter.opts}
    assert [option for option in options if option.startswith("--") and option not in known] == []


def test_everything_that_the_container_copies_is_there() -> None:
    for sources in re.findall(r"^COPY (.+) \S+$", CONTAINERFILE, re.MULTILINE):
        for source in sources.split():
            assert (DEPLOY.parent / source).exists(), source
