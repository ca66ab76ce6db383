"""A file for what a child process is told: it has no name, and on Linux it is on no disk."""

import os
import tempfile
from pathlib import Path
from typing import BinaryIO, cast


def unnamed_file(content: bytes, folder: Path) -> BinaryIO:
    """An open file with this content, to be read from its beginning; `folder` is used where memory cannot be."""
    if hasattr(os, "memfd_create"):
        file = cast("BinaryIO", os.fdopen(os.memfd_create("penstock"), "w+b"))
    else:
        file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.seek(0)
    return file
