"""A replica goes on in the Python environment that its model needs.

    started in Penstock's own -> model fetched -> decide -+-> stay
                                                          +-> build it, or wait for who does -> exec its interpreter

The process that takes this one's place keeps its id, its descriptors and what it was told on standard input. It finds
itself in the environment of the model, and decides no more.
"""

import importlib.metadata
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from penstock.domain.environment import EnvManager, decide, other_python
from penstock.domain.requirements import Installed
from penstock.processes.environment_build import Builder, BuildFailed
from penstock.processes.launch import WorkerLaunch
from penstock.runtime.environments import Environment, Environments
from penstock.settings import Home
from penstock.stores.model_requirements import BadRequirements, read_needs

_log = logging.getLogger(__name__)


class EnvironmentUnusable(Exception):
    """The environment that a model needs cannot be had; the message says which package, and who asked for it."""


def settle(launch: WorkerLaunch, model_folder: Path) -> str:
    """Go on in the environment that the model needs.

    Returns:
        The name of the one that this process runs in, empty for Penstock's own. If the model needs another one, this
        does not return: the interpreter of that one takes the place of this process, and settles there.

    Raises:
        EnvironmentUnusable: it cannot be had.
    """
    environments = Environments(Home(Path(launch.home)).environments)
    if (current := environments.current()) is not None:
        current.hold()
        current.note_use(launch.spec.model.artifact_key)
        return current.key
    try:
        return _leave_or_stay(launch, model_folder, environments)
    except (BadRequirements, BuildFailed) as exc:
        raise EnvironmentUnusable(str(exc)) from exc


def _leave_or_stay(launch: WorkerLaunch, model_folder: Path, environments: Environments) -> str:
    manager = EnvManager(launch.spec.environment.get("PENSTOCK_ENV_MANAGER", launch.env_manager))
    needs = read_needs(model_folder)
    decision = decide(manager, needs, installed)
    for package in needs.conda_packages:
        _log.warning("conda.yaml asks for %s, which only conda can install", package)
    for reason in decision.reasons:
        _log.log(
            logging.INFO if decision.is_built else logging.WARNING, "not met by Penstock's environment: %s", reason
        )
    if decision.is_built:
        builder = Builder(environments, needs, model_folder, launch)
        builder.environment.hold(builder.build, builder.say_that_it_waits)
        builder.link()
        builder.environment.note_use(launch.spec.model.artifact_key)
        _go_on_in(builder.environment, launch)
    if version := other_python(needs, sys.version_info[:2]):
        _log.warning("the model was logged with Python %s; it runs in %d.%d", version, *sys.version_info[:2])
    _log.info("runs in Penstock's own environment (manager %s)", manager)
    return ""


def installed(name: str) -> Installed | None:
    """A package of the environment that this process runs in."""
    try:
        metadata = importlib.metadata.metadata(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return Installed(metadata["Version"], tuple(metadata.get_all("Requires-Dist") or ()))


def _go_on_in(environment: Environment, launch: WorkerLaunch) -> NoReturn:
    """Have the environment's interpreter take the place of this process."""
    _log.info("goes on in environment %s", environment.key)
    os.lseek(sys.stdin.fileno(), 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    variables = environment.variables(os.environ, launch.spec.environment)
    os.execve(environment.python, [str(environment.python), "-P", "-m", "penstock.processes.worker"], variables)  # noqa: S606
