"""Replicas: what should run in a slot, and what is seen to run there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from penstock.domain.confinement import Confinement, confinement_of
from penstock.domain.devices import GPUS_OF, lack
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck
from penstock.domain.served_entity import ModelVersion, ServedEntity

MAX_DEPLOY_DEATHS = 3
"""A new replica that died this often before it was ready has failed."""
_DRAIN_MARGIN_S = 3.0
"""How much longer than its last request a replica may take to end."""


class ReplicaState(StrEnum):
    """Where a replica is in its life.

    STARTING -> READY -> DRAINING -> gone; from STARTING and READY a death leads to RESTARTING and back to STARTING.
    One that is put to sleep goes from DRAINING to ASLEEP; the first connection to its slot makes it STARTING again.
    """

    ASLEEP = "asleep"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """All that is needed to start one replica. The slot names its socket and never changes hands."""

    slot: str
    deployment: str
    endpoint_id: str
    endpoint_name: str
    entity_name: str
    config_version: int
    model: ModelVersion
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """Values may be passwords: they stand in no log."""
    drain_timeout_s: float = 300.0
    confinement: Confinement = field(default_factory=Confinement)
    gpus: int = 0
    """How many devices it is given."""

    @property
    def request_timeout_s(self) -> float:
        """The time limit of one request, seconds."""
        return self.drain_timeout_s - _DRAIN_MARGIN_S


@dataclass(frozen=True, slots=True)
class Replica:
    """One slot as the supervisor sees it."""

    spec: ReplicaSpec
    state: ReplicaState
    load_failed: bool = False
    """The last start ended because the model could not be loaded, not because the process was killed."""
    deaths: int = 0
    """Deaths since the replica was last ready."""
    message: str = ""
    """Why its last process ended; empty if none has, or if it was to sleep."""
    was_woken: bool = False
    """A request woke it, and nobody has asked for it to run since."""
    check: ModelCheck | None = None
    """What it last found out about its model; None as long as it has not come so far."""
    ended_at_ms: int = 0
    """When that was, milliseconds since the epoch."""
    retry_at_ms: int = 0
    """When it is started again, while it has no process."""

    @property
    def story(self) -> str:
        """How its last process ended and what comes next, for people; empty if none has."""
        if not self.message:
            return ""
        if self.state is ReplicaState.READY:
            return f"At {_clock(self.ended_at_ms)} a replica ended and was replaced. {self.message}"
        times = f" It has ended {self.deaths} times in a row." if self.deaths > 1 else ""
        if self.state is ReplicaState.RESTARTING:
            return f"{self.message}{times} The next is started at {_clock(self.retry_at_ms)}."
        return f"{self.message}{times} Another has been started."

    @property
    def has_failed_to_deploy(self) -> bool:
        """Whether a deployment that waits for this replica should give up."""
        return self.load_failed or self.deaths >= MAX_DEPLOY_DEATHS


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


_READ_ONCE = (
    "PYTHON",
    "LD_",
    "OMP_",
    "OPENBLAS_",
    "BLIS_",
    "MKL_",
    "KMP_",
    "NUMEXPR_",
    "MALLOC_",
    "JE_",
    "ARROW_",
    "CUDA_",
)


def may_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether a replica with these variables may be forked: not if one of them is read when a library is loaded."""
    return not any(name.startswith(_READ_ONCE) for name in environment)


def replica_specs(
    endpoint_id: str, endpoint_name: str, config_version: int, entity: ServedEntity, count: int, limits: Limits
) -> tuple[ReplicaSpec, ...]:
    """The first `count` replicas of one entity; none of an external model, or without the GPUs it needs."""
    workload_type = entity.sizing.workload_type
    if entity.model is None or lack(workload_type, limits.gpus):
        return ()
    key = entity.deployment_key(endpoint_id)
    return tuple(
        ReplicaSpec(
            slot=f"{key}-{index}",
            deployment=key,
            endpoint_id=endpoint_id,
            endpoint_name=endpoint_name,
            entity_name=entity.name,
            config_version=config_version,
            model=entity.model,
            environment=entity.environment,
            drain_timeout_s=entity.request_timeout_s(limits) + _DRAIN_MARGIN_S,
            confinement=confinement_of(entity.environment, workload_type, limits),
            gpus=GPUS_OF.get(workload_type, 0),
        )
        for index in range(count)
    )
