"""Runs a notebook: its cells in order, in one name space, until the end, an error or `dbutils.notebook.exit`.

Cells are compiled under the file's own name and lines, so that tracebacks show where it happened. What the last
expression of a cell gives is displayed, as notebooks do.
"""

import ast
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.domain.notebook import BadRun, Cell, Language, NotANotebook, cells_of, run_of
from penstock.notebook.dbutils import DbUtils, Widgets
from penstock.notebook.display import display, display_html
from penstock.notebook.engines import LazySpark, query
from penstock.notebook.errors import NotebookExit, NotSupportedHere

MAX_RESULT = 5 << 20
"""Characters of what a notebook gives out."""
_MAX_TRACE = 64 << 10
_MAX_DEPTH = 20
"""Of notebooks that run others with %run."""
_OURS = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a notebook came to."""

    result: str | None = None
    """What it gave to `dbutils.notebook.exit`."""
    error: str = ""
    trace: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        result = None if self.result is None else self.result[:MAX_RESULT]
        is_truncated = self.result is not None and len(self.result) > MAX_RESULT
        return {"result": result, "is_truncated": is_truncated, "error": self.error, "error_trace": self.trace}


class Notebook:
    """One run of a notebook."""

    def __init__(self, file: Path, parameters: Mapping[str, str], workspace: Path | None = None) -> None:
        """Prepare a run.

        Args:
            file: the notebook.
            parameters: values of widgets.
            workspace: the folder that absolute paths begin in; None for the machine's own root.
        """
        self._file = file
        self._workspace = workspace
        self._widgets = Widgets(parameters)
        self._module = types.ModuleType("__main__")
        self._names = self._module.__dict__
        self._names.update(
            {
                "__file__": str(file),
                "dbutils": DbUtils(self._widgets),
                "display": display,
                "displayHTML": display_html,
                "getArgument": self._widgets.get,
                "spark": LazySpark(),
            }
        )

    def run(self) -> Outcome:
        """Run it. Nothing is raised, whatever the notebook does, but what ends the process."""
        sys.modules["__main__"] = self._module  # what it defines can be pickled
        sys.path.insert(0, str(self._file.parent))
        sys.argv = [str(self._file)]
        try:
            self._run_file(self._file, 0)
        except NotebookExit as exc:
            return Outcome(exc.value)
        except SystemExit as exc:
            return Outcome() if exc.code in {None, 0} else _failed(exc, f"SystemExit: {exc.code}")
        except BaseException as exc:  # noqa: BLE001 - a notebook may raise anything
            return _failed(exc, f"{type(exc).__name__}: {exc}")
        return Outcome()

    def _run_file(self, file: Path, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise NotSupportedHere(f"%run: notebooks run each other {_MAX_DEPTH} deep; the last is {file}.")
        try:
            cells = cells_of(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, NotANotebook) as exc:
            raise NotSupportedHere(f"{file} is no notebook in source format: {exc}.") from None
        for cell in cells:
            self._run_cell(file, cell, depth)

    def _run_cell(self, file: Path, cell: Cell, depth: int) -> None:
        match cell.language:
            case Language.PYTHON:
                self._run_python(file, cell)
            case Language.MARKDOWN:
                pass
            case Language.RUN:
                self._run_other(file, cell, depth)
            case Language.PIP:
                print(f"%pip {cell.text}: nothing is installed here; the task runs with Penstock's own packages.")
            case Language.SQL:
                self._names["_sqldf"] = found = query(cell.text)
                display(found)
            case other:
                raise NotSupportedHere(
                    f"%{other} (line {cell.line} of {file}) is not to be had here; there are %python, %md, %run, %pip "
                    "and %sql."
                )

    def _run_python(self, file: Path, cell: Cell) -> None:
        tree = ast.parse("\n" * (cell.line - 1) + cell.text, filename=str(file))
        last = tree.body[-1] if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        if last is not None:
            tree.body.pop()
        exec(compile(tree, str(file), "exec"), self._names)  # noqa: S102 - what a notebook is for
        if last is not None:
            value = eval(compile(ast.Expression(last.value), str(file), "eval"), self._names)  # noqa: S307
            if value is not None:
                display(value)

    def _run_other(self, file: Path, cell: Cell, depth: int) -> None:
        try:
            wanted = run_of(cell.text)
        except BadRun as exc:
            raise NotSupportedHere(f"{exc} (line {cell.line} of {file})") from None
        self._widgets.give(wanted.widgets)
        self._run_file(self._found(file, wanted.path), depth + 1)

    def _found(self, file: Path, path: str) -> Path:
        base = file.parent
        if path.startswith("/"):
            base, path = (self._workspace or Path("/")), path.lstrip("/")
            if self._workspace is not None:
                path = path.removeprefix("Workspace/")
        for candidate in (base / path, base / f"{path}.py"):
            if candidate.is_file():
                return candidate.resolve()
        raise NotSupportedHere(f"%run {path}: there is no such notebook beside {file}.")


def _failed(error: BaseException, told: str) -> Outcome:
    """The error, without the frames of ours; it is also printed, so that it stands in the log."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS) and frames.tb_next is not None:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    print(text, file=sys.stderr, flush=True)
    return Outcome(error=told[:_MAX_TRACE], trace=text[-_MAX_TRACE:])
