"""Small files that others read while they are written: a reader sees the old bytes or the new ones, whole."""

import os
from pathlib import Path


def write_whole(path: Path, data: bytes, *, is_synced: bool = False) -> None:
    """Put `data` in the place of what is there, for its owner alone to read.

    Args:
        path: the file.
        data: all of it.
        is_synced: have the disk take the bytes first; else a power cut may bring the old ones back.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        if is_synced:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
