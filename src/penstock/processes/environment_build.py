"""Builds the environment of a model: uv makes and fills it, the code of replicas is linked into it, and it is tried."""

import logging
import os
import platform
import sys
import time
from pathlib import Path

import penstock
from penstock.domain.environment import (
    MIN_PYTHON,
    ModelNeeds,
    conflicts,
    constraints,
    environment_key,
    install_list,
    other_python,
)
from penstock.domain.resolution import explain
from penstock.processes.launch import WorkerLaunch
from penstock.runtime.environments import Environments
from penstock.runtime.uv import CommandFailed, Uv, run

_log = logging.getLogger(__name__)

_PACKAGE = Path(penstock.__file__).parent
_TRIAL = "import penstock.processes.worker"


class BuildFailed(Exception):
    """An environment cannot be built; the message says which package is at fault, and who asked for it."""


class Builder:
    """Knows which environment a model needs, and builds it."""

    def __init__(self, environments: Environments, needs: ModelNeeds, model_folder: Path, launch: WorkerLaunch) -> None:
        self._environments = environments
        self._needs = needs
        self._model_folder = model_folder
        self._launch = launch
        self._python = self._choose_python()
        self.environment = environments.of(
            environment_key(
                needs,
                f"{platform.python_implementation()} {self._python_version}",
                f"{sys.platform} {platform.machine()}",
                launch.spec.model.artifact_key,
            )
        )

    def link(self) -> None:
        """Make our own package importable there, and nothing of what else is installed beside it."""
        site = self.environment.folder / "lib" / f"python{self._python_version}" / "site-packages"
        temporary = site / f".{_PACKAGE.name}-{os.getpid()}"
        temporary.symlink_to(_PACKAGE)
        temporary.replace(site / _PACKAGE.name)

    def say_that_it_waits(self) -> None:
        """Tell the build log that another replica builds the environment."""
        _log.info("waits for environment %s, which another replica builds", self.environment.key)

    def build(self, lock: int) -> None:
        """Build the environment, in its folder, from nothing.

        Raises:
            BuildFailed: whatever the reason.
        """
        begun_s = time.monotonic()
        folder, python = self.environment.folder, self.environment.python
        _log.info("builds environment %s with Python %s", folder.name, self._python_version)
        if found := conflicts(self._needs):
            raise BuildFailed("; ".join(found) + ".")
        uv = self._uv(lock)
        try:
            with self._environments.using_cache():
                uv.make(folder, self._python)
                self._install(uv)
            self.link()
            variables = self.environment.variables(os.environ, self._launch.spec.environment)
            run([str(python), "-P", "-c", _TRIAL], folder, variables, lock)
        except CommandFailed as exc:
            raise BuildFailed(explain(str(exc), self._needs.lines, self._needs.runtime)) from None
        self.environment.complete(
            {
                "requirements": [line.text for line in self._needs.lines],
                "runtime": self._needs.runtime,
                "python": self._python_version,
                "model": self._launch.spec.model.uri,
            }
        )
        _log.info("built environment %s in %.1f s", folder.name, time.monotonic() - begun_s)

    def _install(self, uv: Uv) -> None:
        folder, python = self.environment.folder, self.environment.python
        files = []
        for option, lines in (
            ("requirements", install_list(self._needs, str(self._model_folder))),
            ("constraints", constraints(self._needs)),
        ):
            if lines:
                file = folder / f"{option}.txt"
                file.write_text("\n".join(lines) + "\n")
                files += [f"--{option}", str(file)]
        uv.install(python, (*files, *self._needs.runtime), self._model_folder)
        others = [name for name in self._needs.build_dependencies if name not in self._needs.names]
        try:
            if others:
                uv.install(python, others, self._model_folder)
        except CommandFailed:
            _log.warning("went on without %s, which python_env.yaml calls build dependencies", ", ".join(others))

    def _choose_python(self) -> str:
        ours = sys.version_info[:2]
        self._python_version = f"{ours[0]}.{ours[1]}"
        version = other_python(self._needs, ours)
        if version is None:
            return sys.executable
        is_old = tuple(map(int, version.split("."))) < MIN_PYTHON
        found = None if is_old else self._uv(None).find_python(version, self._environments.folder)
        if found is None:
            why = "is too old for a replica" if is_old else "is not on this machine"
            _log.warning(
                "Python %s, with which the model was logged, %s; %s is used", version, why, self._python_version
            )
            return sys.executable
        self._python_version = version
        return found

    def _uv(self, lock: int | None) -> Uv:
        return Uv(self._environments.cache, self._launch.build_variables, self._launch.wheelhouse, lock)
