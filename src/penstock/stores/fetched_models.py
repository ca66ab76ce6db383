"""The folder of fetched models, without any library that models need: what is there, and how something of it goes."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from penstock.domain.housekeeping import StoredModel
from penstock.settings import PARTIAL_SUFFIX


def stored_models(folder: Path, now_s: float) -> list[StoredModel]:
    """All that was fetched, or is being fetched; a fetch and a load renew the time of a folder."""
    models = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a fetch has just ended
            idle_s = now_s - path.stat().st_mtime
            models.append(StoredModel(path.name, idle_s, is_partial=path.name.endswith(PARTIAL_SUFFIX)))
    return models


def set_aside(folder: Path, name: str) -> Path:
    """Take a model out of use in one step, so that nobody finds half of it; returns what is left to be deleted.

    Raises:
        OSError: it cannot be moved.
    """
    aside = Path(tempfile.mkdtemp(prefix=f"{name.removesuffix(PARTIAL_SUFFIX)}.", suffix=PARTIAL_SUFFIX, dir=folder))
    return (folder / name).rename(aside)


def delete(folder: Path) -> None:
    """Delete what was set aside; what cannot be deleted goes at the next start."""
    shutil.rmtree(folder, ignore_errors=True)
