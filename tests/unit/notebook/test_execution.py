"""Notebooks as they run: widgets, %run, leaving early, errors with their own lines."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.notebook.execution import Notebook, Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs cells as a notebook; what it does to this process is undone."""
    before = sys.modules["__main__"], list(sys.path), list(sys.argv)

    def run(*cells: str, workspace: Path | None = None, **parameters: str) -> Outcome:
        file = tmp_path / "nb.py"
        file.write_text("# Databricks notebook source\n" + "\n\n# COMMAND ----------\n\n".join(cells))
        return Notebook(file, parameters, workspace).run()

    yield run
    sys.modules["__main__"], sys.path[:], sys.argv[:] = before


def other(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("# Databricks notebook source\n" + text)


def test_p6_5_cells_run_in_order_and_last_values_are_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run("x = [1]", "x.append(2)\nx", "None", "def f():\n    return x\nf() + [3]", "display('d', 4)")
    assert outcome == Outcome()
    assert capsys.readouterr().out == "[1, 2]\n[1, 2, 3]\nd\n4\n"


def test_p6_5_tables_are_shown_as_text(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("import pandas as pd\npd.DataFrame({'a': range(1500)})", "displayHTML('<b>x</b>')")
    printed = capsys.readouterr().out
    assert "999" in printed
    assert "[500 more rows]" in printed
    assert "8 characters of HTML" in printed


def test_p6_5_widgets(run: Run) -> None:
    declare = 'dbutils.widgets.text("day", "monday")\ndbutils.widgets.dropdown("size", "S", ["S", "L"], "Size")'
    leave = 'dbutils.notebook.exit(dbutils.widgets.get("day") + getArgument("size"))'
    assert run(declare, leave).result == "mondayS"
    assert run(declare, leave, day="friday", size="L").result == "fridayL"
    assert run("dbutils.notebook.exit(dbutils.widgets.getAll())", a="1").result == "{'a': '1'}"
    assert "wanted one of S, L" in run(declare, size="XXL").error
    undefined = run('dbutils.widgets.get("nope")')
    assert undefined.error.startswith("ValueError: InputWidgetNotDefined: no widget 'nope'")
    assert run('dbutils.widgets.multiselect("m", "a,b", ["a", "b", "c"])', m="a,c").error == ""


def test_p6_5_leaving_early_is_no_error_and_nothing_catches_it(run: Run) -> None:
    leave = "try:\n    dbutils.notebook.exit('done')\nexcept Exception:\n    x = 1"
    assert run(leave, "raise ValueError('never')") == Outcome("done")
    assert run("import sys\nsys.exit(0)", "1/0") == Outcome()
    assert run("import sys\nsys.exit(3)").error == "SystemExit: 3"


def test_p6_5_other_notebooks_run_in_the_same_names(run: Run, tmp_path: Path) -> None:
    other(tmp_path, "lib/names.py", 'def hello():\n    return "hello " + dbutils.widgets.get("who")\n')
    assert run('# MAGIC %run ./lib/names $who="me"', "dbutils.notebook.exit(hello())").result == "hello me"
    assert run("# MAGIC %run /lib/names", "dbutils.notebook.exit('ok')", workspace=tmp_path).result == "ok"
    assert "no such notebook" in run("# MAGIC %run ./nowhere").error
    other(tmp_path, "circle.py", "# MAGIC %run ./circle\n")
    assert "20 deep" in run("# MAGIC %run ./circle").error


def test_p6_5_errors_tell_the_line_of_the_notebook_and_none_of_ours(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run("x = 0", "def divide():\n    return 1 / x", "divide()")
    assert outcome.error == "ZeroDivisionError: division by zero"
    assert f'File "{tmp_path}/nb.py", line 7, in divide' in outcome.trace
    assert "return 1 / x" in outcome.trace
    assert "execution.py" not in outcome.trace
    assert outcome.trace in capsys.readouterr().err
    assert run("x = (").error.startswith("SyntaxError")


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("# MAGIC %scala\n# MAGIC println(1)", "%scala (line 2"),
        ("dbutils.fs.ls('/')", "dbutils.fs is not to be had here"),
        ("dbutils.secrets.get('a', 'b')", "dbutils.secrets is not to be had here"),
        ("dbutils.notebook.run('x', 60)", "dbutils.notebook.run('x') is not to be had here"),
    ],
)
def test_p6_5_what_is_not_to_be_had_is_named(run: Run, cell: str, told: str) -> None:
    assert told in run(cell).error


def test_p6_5_pip_does_nothing_and_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("# MAGIC %pip install nothing==1", "dbutils.library.restartPython()").error == ""
    printed = capsys.readouterr().out
    assert "%pip install nothing==1: nothing is installed here" in printed
    assert "restartPython() does nothing" in printed
