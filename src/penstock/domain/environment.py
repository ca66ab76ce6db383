"""In which Python environment a model runs: Penstock's own, or one that is built for it.

An environment that is built is known by a digest of all that makes it what it is, so that models that want the same
share one.
"""

import hashlib
import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum

from packaging.requirements import Requirement

from penstock.domain.requirements import OURS, Line, Lookup, unmet

RUNTIME = ("msgspec>=0.19", "pandas>=1.5", "python-json-logger>=3.2")
"""What the code of a replica needs in the environment of any model, beside MLflow."""
RUNTIME_MLFLOW = "mlflow-skinny>=2.9,<4"
"""Added for a model that does not ask for MLflow itself."""
MIN_PYTHON = (3, 11)
"""The oldest Python that runs a replica."""
_MLFLOW = frozenset(("mlflow", "mlflow-skinny"))
_KEY = re.compile(r"[0-9a-f]{16}")
_BEFORE_PATH = ("", "-e", "--editable", "-f", "--find-links")
KEEP_UNUSED_S = 3600.0
"""So long an environment is kept after its last use, even if no endpoint wants it: its endpoint may come back."""


class EnvManager(StrEnum):
    """Who provides the environment of a model."""

    AUTO = "auto"
    """Ours if it meets what the model requires, else one is built."""
    LOCAL = "local"
    """Always ours."""
    UV = "uv"
    """Always one that is built."""


@dataclass(frozen=True, slots=True)
class ModelNeeds:
    """What a logged model says that it needs."""

    lines: tuple[Line, ...] = ()
    python: str | None = None
    """The version that it was logged with."""
    build_dependencies: tuple[str, ...] = ()
    """Packages that MLflow would put into every environment before all others; had if they can be."""
    conda_packages: tuple[str, ...] = ()
    """Packages that only conda could install."""

    @property
    def names(self) -> frozenset[str]:
        """The packages that it asks for by name."""
        return frozenset(line.name for line in self.lines if line.name is not None and not line.is_constraint)

    @property
    def runtime(self) -> tuple[str, ...]:
        """What has to be there beside what it asks for."""
        return RUNTIME if self.names & _MLFLOW else (*RUNTIME, RUNTIME_MLFLOW)

    @property
    def has_own_files(self) -> bool:
        """Whether it brings packages along in files of its own, so that its environment suits no other model."""
        return any(line.requirement is None and not line.is_option and "://" not in line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a model runs, and why."""

    is_built: bool
    """Whether in an environment that is built for it."""
    reasons: tuple[str, ...] = ()
    """What our own environment does not meet."""


def decide(manager: EnvManager, needs: ModelNeeds, installed: Lookup) -> Decision:
    """Where a model runs.

    Args:
        manager: what was chosen for its served entity.
        needs: what it says that it needs.
        installed: the packages of our own environment.
    """
    reasons = () if manager is EnvManager.UV else unmet(needs.lines, installed)
    return Decision(manager is EnvManager.UV or (manager is EnvManager.AUTO and bool(reasons)), reasons)


def other_python(needs: ModelNeeds, ours: tuple[int, int]) -> str | None:
    """The minor version of Python, such as `3.12`, that a model was logged with, if it is not ours."""
    parts = (needs.python or "").split(".")
    if len(parts) < len(ours) or not all(part.isascii() and part.isdigit() for part in parts[:2]):
        return None
    version = int(parts[0]), int(parts[1])
    return None if version == ours else f"{version[0]}.{version[1]}"


def environment_key(needs: ModelNeeds, python: str, platform: str, model: str) -> str:
    """The name of the environment that the needs describe.

    Args:
        needs: of a model. The order of requirements and their spelling do not count; that of options does.
        python: implementation and version.
        platform: system and processor.
        model: the model's own key, which counts if it brings files of its own.
    """
    options = [line.text for line in needs.lines if line.is_option]
    requirements = sorted({line.normal_form for line in needs.lines if not line.is_option})
    own = model if needs.has_own_files else ""
    parts = (python, platform, own, "", *options, "", *requirements, "", *needs.runtime, "", *needs.build_dependencies)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def is_environment_key(name: str) -> bool:
    """Whether this could be the name of an environment; what a replica tells is not taken for a path."""
    return _KEY.fullmatch(name) is not None


def install_list(needs: ModelNeeds, folder: str) -> tuple[str, ...]:
    """What is to be installed for a model whose files lie in `folder`, as lines of a requirements file."""
    lines = (line for line in needs.lines if line.name != OURS and not line.is_constraint)
    return tuple(_with_whole_path(line, folder) for line in lines)


def constraints(needs: ModelNeeds) -> tuple[str, ...]:
    """The lines of a model's constraints files."""
    return tuple(line.text for line in needs.lines if line.is_constraint)


def _with_whole_path(line: Line, folder: str) -> str:
    """A line that names a file of the model; installers look for it from where they run."""
    words = line.text.split(maxsplit=1) if line.text.startswith("-") else ["", line.text]
    if line.requirement is not None or words[0] not in _BEFORE_PATH or "://" in words[-1] or words[-1].startswith("/"):
        return line.text
    return f"{words[0]} {folder}/{words[-1]}".strip()


def conflicts(needs: ModelNeeds) -> tuple[str, ...]:
    """Pins of the model that the replica runtime cannot live with, a sentence each."""
    return tuple(
        f"{line.where} asks for {line.text}, but the replica runtime needs {needed.name}{needed.specifier}"
        for line in needs.lines
        for needed in map(Requirement, (*RUNTIME, RUNTIME_MLFLOW))
        if _pins_against(line, needed)
    )


def _pins_against(line: Line, needed: Requirement) -> bool:
    """Whether a line wants one version of what is needed, and that a wrong one."""
    requirement = line.requirement
    if requirement is None or (requirement.marker and not requirement.marker.evaluate()):
        return False
    name = "mlflow-skinny" if line.name in _MLFLOW else line.name
    pins = (pin.version for pin in requirement.specifier if pin.operator == "==" and "*" not in pin.version)
    return name == needed.name and any(not needed.specifier.contains(pin, prereleases=True) for pin in pins)


@dataclass(frozen=True, slots=True)
class EnvironmentUse:
    """An environment on disk: which models it was used for, and when last."""

    key: str
    models: frozenset[str]
    last_used_s: float


def unwanted(environments: Iterable[EnvironmentUse], models: Set[str], now_s: float) -> tuple[str, ...]:
    """The environments to remove: no model of a stored config uses them, and none has for a while."""
    return tuple(
        environment.key
        for environment in environments
        if not environment.models & models and now_s - environment.last_used_s >= KEEP_UNUSED_S
    )
