"""Builds the environment of a model: uv makes and fills it, the code of replicas is linked into it, and it is tried."""

import logging
import os
import platform
import sys
import time
from collections.abc import Mapping
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
from penstock.processes.launch import EnvironmentSettings
from penstock.runtime.environments import Environments
from penstock.runtime.uv import CommandFailed, Uv, run

_log = logging.getLogger(__name__)

_PACKAGE = Path(penstock.__file__).parent
_WITH_PKG_RESOURCES = {"setuptools": "setuptools<81"}
"""MLflow before 2.11 or so imports it and does not say so; newer ones of setuptools do not have it."""
_TRIAL = "import penstock.processes.worker"


class BuildFailed(Exception):
    """An environment cannot be built; the message says which package is at fault, and who asked for it."""


class Builder:
    """Knows which environment a model needs, and builds it."""

    def __init__(
        self, settings: EnvironmentSettings, needs: ModelNeeds, model_folder: Path, model: str, own: Mapping[str, str]
    ) -> None:
        """`model` is the model's key, `own` what its served entity sets in `environment_vars`."""
        self._settings = settings
        self._environments = Environments(Path(settings.folder))
        self._needs = needs
        self._model_folder = model_folder
        self._own = own
        self._python, self._python_version = self._choose_python()
        python = f"{platform.python_implementation()} {self._python_version}"
        system = f"{sys.platform} {platform.machine()}"
        self.environment = self._environments.of(environment_key(needs, python, system, model))

    @property
    def variables(self) -> dict[str, str]:
        """For a process that takes the place of this one in the environment."""
        return self.environment.variables(os.environ, self._own)

    def say_that_it_waits(self) -> None:
        """Tell the build log that another replica builds the environment."""
        _log.info("waits for environment %s, which another replica builds", self.environment.key)

    def build(self, lock: int) -> None:
        """Build the environment, in its folder, from nothing.

        Args:
            lock: a descriptor that the processes of the build keep open.

        Raises:
            BuildFailed: it cannot be had, or a replica does not run in it.
            OSError: there is no space for it, say.
        """
        begun_s = time.monotonic()
        _log.info("builds environment %s with Python %s", self.environment.key, self._python_version)
        if found := conflicts(self._needs):
            raise BuildFailed("; ".join(found) + ".")
        self._fill(self._uv(lock))
        self.link()
        self._try(lock)
        self.environment.complete(
            {
                "requirements": [line.text for line in self._needs.lines],
                "runtime": self._needs.runtime,
                "python": self._python_version,
            }
        )
        _log.info("built environment %s in %.1f s", self.environment.key, time.monotonic() - begun_s)

    def link(self) -> None:
        """Make our own package importable there, wherever it lies now, and nothing that is installed beside it."""
        site = self.environment.folder / "lib" / f"python{self._python_version}" / "site-packages"
        temporary = site / f".{_PACKAGE.name}-{os.getpid()}"
        temporary.symlink_to(_PACKAGE)
        temporary.replace(site / _PACKAGE.name)

    def _fill(self, uv: Uv) -> None:
        python = self.environment.python
        try:
            with self._environments.using_cache():
                uv.make(self.environment.folder, self._python)
                uv.install(python, (*self._files(), *self._needs.runtime), self._model_folder)
                self._add_build_dependencies(uv)
        except CommandFailed as exc:
            raise BuildFailed(explain(str(exc), self._needs.lines, self._needs.runtime)) from None

    def _files(self) -> list[str]:
        """What the model asks for, as files for the installer."""
        options = []
        for option, lines in (
            ("requirements", install_list(self._needs, str(self._model_folder))),
            ("constraints", constraints(self._needs)),
        ):
            if lines:
                file = self.environment.folder / f"{option}.txt"
                file.write_text("\n".join(lines) + "\n")
                options += [f"--{option}", str(file)]
        return options

    def _add_build_dependencies(self, uv: Uv) -> None:
        others = [_WITH_PKG_RESOURCES.get(text, text) for text in self._needs.build_dependencies]
        try:
            if others:
                uv.install(self.environment.python, others, self._model_folder)
        except CommandFailed:
            _log.warning("goes on without %s, which python_env.yaml calls build dependencies", ", ".join(others))

    def _try(self, lock: int) -> None:
        """Import what a replica imports; the compiled code is kept for the first one."""
        command = [str(self.environment.python), "-P", "-c", _TRIAL]
        try:
            run(command, self.environment.folder, self.variables, lock)
        except CommandFailed as exc:
            reason = (str(exc).splitlines() or ["it says nothing"])[-1]
            raise BuildFailed(f"The packages were installed, but no replica can run with them: {reason}.") from None

    def _choose_python(self) -> tuple[str, str]:
        """The interpreter to build with, and its version."""
        ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
        version = other_python(self._needs, sys.version_info[:2])
        if version is None:
            return sys.executable, ours
        is_old = tuple(map(int, version.split("."))) < MIN_PYTHON
        found = None if is_old else self._uv(None).find_python(version, self._environments.folder)
        if found is None:
            why = "is too old for a replica" if is_old else "is not on this machine"
            _log.warning("Python %s, with which the model was logged, %s; %s is used", version, why, ours)
            return sys.executable, ours
        return found, version

    def _uv(self, lock: int | None) -> Uv:
        return Uv(self._environments.cache, self._settings.variables, self._settings.wheelhouse, lock)
