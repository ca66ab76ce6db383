"""Commands of the installer: what they print is kept, told on, and holds no credentials."""

import os
import sys
from pathlib import Path

import pytest

from penstock.runtime.uv import CommandFailed, run


def test_what_a_command_prints_is_told_without_credentials(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; print('from https://me:canary@host/simple'); print('and', file=sys.stderr)"
    assert sorted(run([sys.executable, "-c", code], tmp_path, os.environ)) == ["and", "from https://***@host/simple"]
    assert "https://***@host/simple" in capfd.readouterr().err
    run([sys.executable, "-c", code], tmp_path, os.environ, is_told=False)
    assert capfd.readouterr().err == ""


def test_a_command_that_fails_is_told_with_the_end_of_what_it_printed(tmp_path: Path) -> None:
    code = "for n in range(5000): print('line', n)\nraise SystemExit(3)"
    with pytest.raises(CommandFailed) as failure:
        run([sys.executable, "-c", code], tmp_path, os.environ, is_told=False)
    lines = str(failure.value).splitlines()
    assert lines[-1] == "line 4999"
    assert len(lines) < 1000


def test_a_command_keeps_the_lock_open(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        run([sys.executable, "-c", f"import os; os.write({write_end}, b'held')"], tmp_path, os.environ, write_end)
        assert os.read(read_end, 10) == b"held"
    finally:
        os.close(read_end)
        os.close(write_end)
