"""Files that declare jobs: settings as the API takes them, in YAML or JSON, with paths beside the file."""

import sys
from pathlib import Path
from typing import Any

from penstock.cli.documents import MAX_BYTES, Malformed, read_documents
from penstock.cli.session import USAGE, CommandFailed

_PATHS = (("spark_python_task", "python_file"), ("notebook_task", "notebook_path"))


def read_settings_file(file: Path) -> dict[str, Any]:
    """The settings of the one job that a file declares; `-` is standard input.

    Raises:
        CommandFailed: it cannot be read, is malformed, or holds something else.
    """
    is_stdin = str(file) == "-"
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if is_stdin else file.read_bytes()
        documents = [located.value for located in read_documents(data, str(file))]
    except (OSError, Malformed) as exc:
        raise CommandFailed(f"--file {file}: {exc}", USAGE) from exc
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise CommandFailed(f"--file {file}: wanted one document with the settings of a job.", USAGE)
    folder = (Path.cwd() if is_stdin else file.parent).absolute()
    for task in documents[0].get("tasks") or ():
        _resolve(task, folder)
    return documents[0]


def _resolve(task: object, folder: Path) -> None:
    """Make relative paths of a task absolute, where they lead to something beside the file."""
    for work, name in _PATHS:
        settings = task.get(work) if isinstance(task, dict) else None
        if not isinstance(settings, dict):
            continue
        path = settings.get(name)
        if not isinstance(path, str) or path.startswith(("/", "{{")) or ":" in path:
            continue
        beside = folder / path
        if beside.exists() or beside.with_name(f"{beside.name}.py").exists():
            settings[name] = str(beside)
