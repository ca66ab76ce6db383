"""What of the home folder nobody needs any longer: fetched models, and logs of former replicas.

A model that is removed is fetched again by the replica that needs it. Nothing is removed that was used a short while
ago: somebody may be about to use it without our knowing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

GRACE_S = 3600.0
"""What was used this recently stays, needed or not."""
PARTIAL_GRACE_S = 86400.0
"""A fetch that has not ended for so long never will."""
KEPT_VERSIONS = 5
"""The models of so many versions of an endpoint's config stay, the newest, so that going back to one is quick."""
MAX_FORMER_DEPLOYMENTS = 10
"""Of so many former deployments of an endpoint, those that wrote last, the logs are kept."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A folder of fetched models."""

    name: str
    idle_s: float
    """How long ago a replica fetched or began to load it."""
    is_partial: bool = False
    """Its fetch has not ended."""


def unneeded_models(models: Iterable[StoredModel], needed: Collection[str]) -> list[str]:
    """The models that may go.

    Args:
        models: what there is.
        needed: the artifact keys of every model that a config, one of late, or a replica that still runs names.
    """
    return [
        model.name
        for model in models
        if model.name not in needed and model.idle_s > (PARTIAL_GRACE_S if model.is_partial else GRACE_S)
    ]


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log of a replica, or an older part of one."""

    path: str
    endpoint: str
    deployment: str
    """The key of the deployment whose replica wrote it."""
    idle_s: float
    """How long ago it was written to."""


def unneeded_logs(logs: Iterable[LogFile], endpoints: Collection[str], current: Collection[str]) -> list[str]:
    """The log files that may go, by path.

    Args:
        logs: what there is.
        endpoints: the names of all endpoints, and of those whose replicas still run.
        current: the keys of deployments that a config wants, or that still run.
    """
    former: dict[str, dict[str, list[LogFile]]] = defaultdict(lambda: defaultdict(list))
    for log in logs:
        if log.deployment not in current:
            former[log.endpoint][log.deployment].append(log)
    surplus: list[LogFile] = []
    for endpoint, deployments in former.items():
        newest_first = sorted(deployments.values(), key=lambda files: min(file.idle_s for file in files))
        kept = MAX_FORMER_DEPLOYMENTS if endpoint in endpoints else 0
        surplus += [file for files in newest_first[kept:] for file in files]
    return [file.path for file in surplus if file.idle_s > GRACE_S]
