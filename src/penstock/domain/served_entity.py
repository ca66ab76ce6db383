"""A served entity: one version of a registered model, or an external one, sized and named."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.domain.external_model import ExternalModel
from penstock.domain.limits import Limits, Windows
from penstock.domain.prediction import DEFAULT_SPIN_US
from penstock.domain.secrets import Sealed
from penstock.domain.sizing import Sizing
from penstock.domain.spool_mode import SpoolMode

REDACTED_COLUMNS = "PENSTOCK_REDACTED_COLUMNS"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model, pinned: moving an alias does not change it.

    `created_at_ms` tells apart two versions that bore the same name and number one after the other.
    """

    name: str
    version: str
    created_at_ms: int = 0

    @property
    def uri(self) -> str:
        """The `models:/` URI of exactly this version."""
        return f"models:/{self.name}/{self.version}"

    @property
    def artifact_key(self) -> str:
        """Name of the folder that holds this version's files once they are fetched."""
        return _digest(self.name, self.version, str(self.created_at_ms))


@dataclass(frozen=True, slots=True)
class ServedEntity:
    """One entry of an endpoint config."""

    id: str
    """32 hexadecimal digits, new with every config."""
    name: str
    model: ModelVersion | None
    """None for an external model; without a version while the alias that it follows leads nowhere yet."""
    sizing: Sizing = field(default_factory=Sizing)
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    """Values may be passwords: they stand in no log."""
    instance_profile_arn: str | None = None
    alias: str | None = None
    """The alias that was resolved to `model`, if one was asked for."""
    creator: str = ""
    created_at_ms: int = 0
    sealed: dict[str, Sealed] = field(default_factory=dict)
    """What secrets held when the config was accepted, by the variable of `environment` that refers to one; keys of an
    external model by the path of their field."""
    external: ExternalModel | None = None
    follow_alias: bool = False
    """Whether it goes to another version when `alias` does."""

    @property
    def is_waiting(self) -> bool:
        """Whether the alias that it follows leads nowhere yet, so that there is nothing to serve."""
        return self.model is not None and not self.model.version

    def deployment_key(self, endpoint_id: str) -> str:
        """Names what a replica of this entity runs.

        Two configs of an endpoint whose entities have the same key share replicas, so that a change of the
        traffic split alone starts nothing. A secret counts by the version of its value: a new value means new replicas,
        a new key to encrypt it with does not.
        """
        pairs = sorted(f"{name}={value}" for name, value in self.environment.items())
        secrets = sorted(f"{name}@{sealed.version}" for name, sealed in self.sealed.items())
        what = repr(self.external) if self.model is None else self.model.artifact_key
        return _digest(endpoint_id, self.name, what, repr(self.sizing), *pairs, *secrets)[:16]

    def request_timeout_s(self, limits: Limits) -> float:
        """The time limit of one request, seconds."""
        return float(self.environment.get("PENSTOCK_REQUEST_TIMEOUT_S", limits.request_timeout_s))

    def windows(self, limits: Limits) -> Windows:
        """How far the autoscaler looks back, and how long the entity is kept without a request."""
        after_s = self.environment.get("PENSTOCK_SCALE_TO_ZERO_AFTER_S")
        return limits.windows if after_s is None else replace(limits.windows, zero_after_s=float(after_s))

    def queue_size(self, limits: Limits) -> int:
        """How many requests may wait for a replica before more are refused."""
        return int(self.environment.get("PENSTOCK_QUEUE_SIZE", limits.queue_size))

    def spool_mode(self, limits: Limits) -> SpoolMode:
        """What becomes of its answers that are to be logged and cannot be."""
        return SpoolMode(self.environment.get("PENSTOCK_SPOOL_MODE", limits.spool_mode))

    @property
    def spin_us(self) -> int:
        """For how long to look for what comes next before sleeping, microseconds."""
        return spin_us(self.environment)

    @property
    def redacted_columns(self) -> tuple[str, ...]:
        """Columns whose values are taken out of bodies before they are logged."""
        return redacted_columns(self.environment)


def spin_us(environment: Mapping[str, str]) -> int:
    """What `PENSTOCK_SPIN_US` says, microseconds."""
    return int(environment.get("PENSTOCK_SPIN_US", DEFAULT_SPIN_US))


def redacted_columns(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that `PENSTOCK_REDACTED_COLUMNS` names."""
    return tuple(filter(None, (part.strip() for part in environment.get(REDACTED_COLUMNS, "").split(","))))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
