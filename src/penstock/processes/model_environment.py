"""A process that is to load a model goes on in the Python environment that the model needs.

    started in Penstock's own -> model fetched -> decide -+-> stay
                                                          +-> build it, or wait for who does -> exec its interpreter

The process that takes this one's place keeps its id, its descriptors and what it was told on standard input. It finds
itself in the environment of the model, and decides no more.
"""

import importlib.metadata
import logging
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NoReturn

from penstock.domain.environment import EnvManager, decide, other_python
from penstock.domain.requirements import Installed
from penstock.flavors.pyfunc import one_line
from penstock.processes.environment_build import Builder, BuildFailed
from penstock.processes.launch import EnvironmentSettings
from penstock.runtime.environments import Environments
from penstock.stores.model_requirements import BadRequirements, read_needs

_log = logging.getLogger(__name__)


class EnvironmentUnusable(Exception):
    """The environment that a model needs cannot be had; the message says which package, and who asked for it."""


def settle(
    settings: EnvironmentSettings, folder: Path, model: str, own: Mapping[str, str], again: tuple[str, ...]
) -> str:
    """Go on in the environment that a model needs.

    Args:
        settings: how environments are built.
        folder: where the model's files are.
        model: its key.
        own: `environment_vars` of its served entity.
        again: the module that is to run in another environment, and its arguments.

    Returns:
        The name of the environment that this process runs in, empty for Penstock's own. If the model needs another
        one, this does not return: the interpreter of that one takes the place of this process, and settles there.

    Raises:
        EnvironmentUnusable: it cannot be had; the build log has been told why.
    """
    environments = Environments(Path(settings.folder))
    try:
        if (current := environments.current()) is not None:
            current.hold()
            current.note_use(model)
            return current.key
        manager = EnvManager(own.get("PENSTOCK_ENV_MANAGER", settings.manager))
        builder = _builder(manager, settings, folder, model, own)
        if builder is None:
            _log.info("runs in Penstock's own environment (manager %s)", manager)
            return ""
        builder.environment.hold(builder.build, builder.say_that_it_waits)
        builder.link()
        builder.environment.note_use(model)
        _log.info("goes on in environment %s", builder.environment.key)
        _exec(builder.environment.python, again, builder.variables)
    except (BadRequirements, BuildFailed) as exc:
        _log.error("%s", exc)
        raise EnvironmentUnusable(str(exc)) from exc
    except OSError as exc:  # no space left, most of all
        _log.exception("the environment cannot be made")
        raise EnvironmentUnusable(f"{one_line(exc)}.") from exc


def _builder(
    manager: EnvManager, settings: EnvironmentSettings, folder: Path, model: str, own: Mapping[str, str]
) -> Builder | None:
    """What builds the environment of a model; None if it is to run in ours."""
    needs = read_needs(folder)
    decision = decide(manager, needs, installed)
    for package in needs.conda_packages:
        _log.warning("conda.yaml asks for %s, which only conda can install", package)
    for reason in decision.reasons:
        _log.log(
            logging.INFO if decision.is_built else logging.WARNING, "not met by Penstock's environment: %s", reason
        )
    if decision.is_built:
        return Builder(settings, needs, folder, model, own)
    if version := other_python(needs, sys.version_info[:2]):
        _log.warning("the model was logged with Python %s; it runs in %d.%d", version, *sys.version_info[:2])
    return None


@cache
def installed(name: str) -> Installed | None:
    """A package of the environment that this process runs in, as it was when it was first asked for."""
    try:
        metadata = importlib.metadata.metadata(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    return Installed(metadata["Version"], tuple(metadata.get_all("Requires-Dist") or ()))


def _exec(python: Path, again: tuple[str, ...], variables: Mapping[str, str]) -> NoReturn:
    """Have another interpreter take the place of this process, with the same document to read."""
    os.lseek(sys.stdin.fileno(), 0, os.SEEK_SET)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(python, [str(python), "-P", "-m", *again], dict(variables))  # noqa: S606 - a module of ours
