"""What replicas printed: the build log (until a replica is ready) and the service log (from then on)."""

import contextlib
import re
import shutil
from pathlib import Path

from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import ResourceDoesNotExist
from penstock.domain.housekeeping import LogFile
from penstock.domain.limits import Limits
from penstock.domain.replica import ReplicaSpec, replica_specs
from penstock.domain.scaling import sizing_bounds
from penstock.runtime.capture import read_log

MAX_LOG_BYTES = 1 << 20
"""The end of a log that is given out."""
_NAME = re.compile(r"([0-9a-f]+)-\d+\.(?:build|service)\.log(?:\.1)?")
"""A slot, whose name begins with the key of its deployment, and the kind."""


def log_file(logs: Path, spec: ReplicaSpec, kind: str) -> Path:
    """Where one replica's log lies; `kind` is `build` or `service`."""
    return logs / spec.endpoint_name / spec.entity_name / f"{spec.slot}.{kind}.log"


def read_entity_log(
    logs: Path, endpoint: Endpoint, entity_name: str, config_version: int | None, kind: str, limits: Limits
) -> str:
    """The logs of an entity's replicas, one after the other.

    The newest config that has an entity of that name counts, unless a version is given.

    Raises:
        ResourceDoesNotExist: no config of the endpoint, or not that version, has such an entity.
    """
    for config in (endpoint.pending, endpoint.active):
        if config is None or config_version not in (None, config.version):
            continue
        entity = config.entity(entity_name)
        if entity is not None:
            most = sizing_bounds(entity.sizing, limits, config.checks.get(entity.name)).high
            specs = replica_specs(endpoint.id, endpoint.name, config.version, entity, most, limits)
            files = [file for spec in specs if (file := log_file(logs, spec, kind)).exists()]
            return "".join(read_log(file, MAX_LOG_BYTES // len(files)) for file in files)
    which = "" if config_version is None else f" in config version {config_version}"
    raise ResourceDoesNotExist(f"Endpoint '{endpoint.name}' has no served entity '{entity_name}'{which}.")


def remove_logs(logs: Path, endpoint_name: str) -> None:
    """Delete the logs of an endpoint that is gone."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(logs / endpoint_name)


def replica_logs(logs: Path, now_s: float) -> list[LogFile]:
    """All log files of replicas, those of former ones included."""
    found = []
    for path in logs.glob("[!.]*/*/*"):
        name = _NAME.fullmatch(path.name)
        if name is not None:
            with contextlib.suppress(FileNotFoundError):
                idle_s = now_s - path.stat().st_mtime
                found.append(LogFile(str(path.relative_to(logs)), path.parent.parent.name, name[1], idle_s))
    return found
