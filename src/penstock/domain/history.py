"""The history of an endpoint's configs: who gave which, how it ended, and which one to go back to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from penstock.domain.config_diff import changes_between
from penstock.domain.endpoint import ConfigUpdate, Endpoint, EndpointConfig
from penstock.domain.errors import InvalidParameterValue, ResourceDoesNotExist
from penstock.domain.served_entity import ServedEntity

MAX_VERSIONS = 1000
"""So many versions of an endpoint's config are kept, the newest, and the active one."""


class Outcome(StrEnum):
    """How it ended that a config was given."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"
    """It waited for a model and had to give way to another config, or to a stop."""


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """One config of an endpoint and what became of it."""

    config: EndpointConfig
    outcome: Outcome = Outcome.IN_PROGRESS
    failures: dict[str, str] = field(default_factory=dict)
    """The entities that failed, and why."""
    ended_at_ms: int | None = None
    """None while it is in progress, and for what a release without history ended."""


def recorded(before: Endpoint | None, after: Endpoint, now_ms: int) -> tuple[ConfigVersion, ...]:
    """The versions that are to be written anew when an endpoint is stored in place of what it was before.

    Storing the same once more writes nothing.
    """
    was = _in_progress(before)
    comes = _in_progress(after)
    found = []
    if was is not None and (comes is None or comes.version != was.version):
        found.append(_ended(was, after, now_ms))
    if comes is not None and comes != was:
        found.append(ConfigVersion(comes))
    return tuple(found)


def _in_progress(endpoint: Endpoint | None) -> EndpointConfig | None:
    if endpoint is None or endpoint.update is not ConfigUpdate.IN_PROGRESS:
        return None
    return endpoint.pending


def _ended(config: EndpointConfig, after: Endpoint, now_ms: int) -> ConfigVersion:
    if after.active is not None and after.active.version == config.version:
        return ConfigVersion(after.active, Outcome.COMPLETED, ended_at_ms=now_ms)
    if after.pending is not None and after.pending.version == config.version:
        return ConfigVersion(after.pending, Outcome.FAILED, after.failures, now_ms)
    return ConfigVersion(config, Outcome.SUPERSEDED, ended_at_ms=now_ms)


def version_to_restore(
    versions: Sequence[ConfigVersion], active: EndpointConfig | None, wanted: int | None
) -> ConfigVersion:
    """The version to go back to: the one that is wanted, or the last that served something else than is served now.

    Raises:
        ResourceDoesNotExist: it is not among `versions`, or nothing else has served.
        InvalidParameterValue: it waited for its model in vain, so there is nothing to go back to.
    """
    if wanted is not None:
        return _restorable(version_of(versions, wanted))
    served = [
        version
        for version in versions
        if version.outcome is Outcome.COMPLETED
        and (active is None or (version.config.version < active.version and changes_between(version.config, active)))
    ]
    if not served:
        raise ResourceDoesNotExist("config_version: no config that differs has served before, so none can come back.")
    return max(served, key=lambda version: version.config.version)


def version_of(versions: Sequence[ConfigVersion], number: int) -> ConfigVersion:
    """The version of that number.

    Raises:
        ResourceDoesNotExist: there is none; the message tells which there are.
    """
    for version in versions:
        if version.config.version == number:
            return version
    numbers = [version.config.version for version in versions]
    kept = f"versions {min(numbers)} to {max(numbers)} are kept" if numbers else "there is none"
    raise ResourceDoesNotExist(f"config_version: got {number}; {kept}.")


def _restorable(version: ConfigVersion) -> ConfigVersion:
    if version.config.is_waiting:
        raise InvalidParameterValue(
            f"config_version: version {version.config.version} waited for a model and never had one; "
            "give its config anew to wait again."
        )
    return version


def restored_entities(config: EndpointConfig, new_id: Callable[[], str]) -> tuple[ServedEntity, ...]:
    """The served entities of an earlier config as they come back: with the same secrets, and pinned.

    One that followed its alias stays where it is: the alias may still lead to what was undone.
    """
    return tuple(replace(entity, id=new_id(), follow_alias=False) for entity in config.entities)
