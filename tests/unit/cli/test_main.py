"""The command line as a whole."""

import subprocess
import sys

from typer.testing import CliRunner

from penstock.cli.main import app


def test_a_command_does_not_import_the_files_of_others() -> None:
    script = (
        "import sys; from penstock.cli.main import main; sys.argv[1:] = ['version']\n"
        "try: main()\n"
        "finally: print(sorted(name for name in sys.modules if name.startswith('penstock.cli.')))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "penstock.cli.stack" in told
    assert "penstock.cli.apply" not in told
    assert "penstock.cli.tables" not in told


def test_a_command_that_there_is_not_is_refused_with_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(app, ["endpoint"])
    assert result.exit_code == 2
    assert "Did you mean 'endpoints'?" in result.output
