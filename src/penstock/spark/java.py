"""The Java that Spark runs on."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from penstock.domain.errors import TemporarilyUnavailable

LEAST_VERSION = 17
_HOW = "install one (Debian: openjdk-17-jre-headless), or set JAVA_HOME to its folder"
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')
_TIMEOUT_S = 60


def find_java() -> Path:
    """The `java` that Spark will start: that of `JAVA_HOME`, else the one on the path.

    Raises:
        TemporarilyUnavailable: there is none, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if found is None or not os.access(found, os.X_OK):
        where = f"JAVA_HOME is {home}, where there is none" if home else "there is none on the path"
        raise TemporarilyUnavailable(f"Spark needs Java {LEAST_VERSION} or newer, and {where}: {_HOW}.")
    version = _version(found)
    if version is None or version < LEAST_VERSION:
        raise TemporarilyUnavailable(
            f"Spark needs Java {LEAST_VERSION} or newer; {found} is {version or 'of no version that it tells'}: {_HOW}."
        )
    return Path(found)


def _version(java: str) -> int | None:
    """The major version that it tells."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stderr + told.stdout)
    return None if found is None else int(found[1])
