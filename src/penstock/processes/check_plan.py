"""What is to be found out about a model before it is served, and what its served entity asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.domain.batching import Wishes, wishes_of
from penstock.domain.model_check import ModelCheck, Preflight
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import ExecutorKind

_MIN_TIMEOUT_S = 60.0
"""The example may take as long as a request, and at least this: the first use of a model is its slowest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to check, and how."""

    folder: Path
    name: str
    """What to call the model in messages."""
    traits: ModelTraits
    executor: ExecutorKind
    timeout_s: float
    """How long its example may take."""
    preflight: Preflight = Preflight.FULL
    wishes: Wishes = Wishes()  # noqa: RUF009 - immutable
    python_environment: str = ""
    """Name of the Python environment that was built for it; empty for Penstock's own."""
    is_forked: bool = False
    earlier: ModelCheck | None = None
    """What an earlier replica of the same deployment found out."""


def plan_for(
    folder: Path,
    name: str,
    traits: ModelTraits,
    environment: Mapping[str, str],
    request_timeout_s: float,
    *,
    python_environment: str = "",
    is_forked: bool = False,
    earlier: ModelCheck | None = None,
) -> Plan:
    """The plan for a model whose served entity has these `environment_vars`, which are checked already."""
    return Plan(
        folder,
        name,
        traits,
        ExecutorKind(environment.get("PENSTOCK_EXECUTOR", traits.executor)),
        max(request_timeout_s, _MIN_TIMEOUT_S),
        Preflight(environment.get("PENSTOCK_PREFLIGHT", Preflight.FULL)),
        wishes_of(environment),
        python_environment,
        is_forked,
        earlier,
    )
