"""Python environments of the servers that we compare with: each its own, made once and kept."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from penstock.processes.package_indexes import build_variables, pip_files, pip_options
from penstock.runtime.uv import CommandFailed, Uv

SHARED = ("mlflow", "scikit-learn", "numpy", "pandas", "xgboost-cpu")
"""Every environment has these as we have them: the models were made with them."""
_TOLD_LINES = 12


class Unavailable(Exception):
    """A server cannot be compared with; the message says why."""


def environment(folder: Path, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has these packages and what the models need.

    Raises:
        Unavailable: it cannot be made; with what the installer said.
    """
    folder = folder.resolve()
    wanted = [*(f"{name}=={version(name)}" for name in SHARED), *packages]
    place = folder / hashlib.sha256(json.dumps([sys.version, wanted]).encode()).hexdigest()[:16]
    python = place / "bin" / "python"
    if (place / "complete").exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    uv = Uv(folder / "cache", build_variables(os.environ, pip_options(pip_files(os.environ))), None)
    try:
        uv.make(place, sys.executable)
        uv.install(python, wanted, folder)
    except CommandFailed as exc:
        raise Unavailable("\n".join(str(exc).strip().splitlines()[-_TOLD_LINES:])) from exc
    (place / "complete").touch()
    return python


def this_python(packages: Sequence[str]) -> Path:
    """The interpreter that runs this, if it has these packages.

    Raises:
        Unavailable: it has not.
    """
    for package in packages:
        try:
            version(Requirement(package).name)
        except PackageNotFoundError as exc:
            raise Unavailable(f"{package} is not installed here") from exc
    return Path(sys.executable)


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """What is installed there."""
    names = [*SHARED, *(Requirement(package).name for package in packages)]
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    told = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = json.loads(told)
    return found
