"""Which file of a model could not be loaded, where the error itself does not say: a truncated pickle, for one."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any


def failed_file(error: BaseException, folder: Path) -> str | None:
    """The file of the model's folder that was at work when an error was raised, as a path below the folder.

    Loaders open a file and read from it in one function; so the innermost of the functions under way that has a file
    of the folder at hand, open or by its path, tells which one it was.
    """
    for variables in _innermost_first(error.__traceback__):
        for value in variables.values():
            path = _path_of(value)
            if path is not None and path.is_relative_to(folder) and path.is_file():
                return str(path.relative_to(folder))
    return None


def _innermost_first(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return (frame.f_locals for frame in reversed(frames))


def _path_of(value: object) -> Path | None:
    """What a local variable says of a file: an open file its name, text and paths themselves."""
    name = getattr(value, "name", None) if isinstance(value, io.IOBase) else value
    return Path(name) if isinstance(name, str | Path) and "\0" not in str(name) else None
