"""Limits: the machine, and the defaults that a served entity may override for itself."""

from dataclasses import dataclass, field

from penstock.domain.spool_mode import SpoolMode


@dataclass(frozen=True, slots=True)
class Windows:
    """How far the autoscaler looks back, seconds."""

    stable_s: int = 60
    panic_s: int = 6
    zero_after_s: float = 1800.0
    """How long an entity that may sleep is kept without a request."""

    @property
    def history_s(self) -> int:
        """Seconds of load that the policy wants to know."""
        return self.stable_s + self.panic_s


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found on this machine."""

    cores: int = 1
    memory_mb: int | None = None
    """Of the container, where that has less; None if it is not known."""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What plans and routing tables are made for."""

    cores: int = 2
    """CPU cores of the machine; no entity gets more replicas than this."""
    deploy_timeout_s: float = 1200.0
    """An update that is not ready after this time is given up."""
    request_timeout_s: float = 297.0
    """The time limit of one request."""
    queue_size: int = 1000
    """How many requests may wait for one served entity before more are refused."""
    memory_mb: int | None = None
    """Memory of the machine, or of the container that the stack runs in; None if it is not known."""
    memory_limit_mb: int | None = None
    """What one replica may use; None to go by its type of workload."""
    process_limit: int = 512
    """Processes and threads of one replica."""
    file_limit: int = 4096
    """Descriptors that one process of a replica may have open."""
    gpus: int = 0
    """GPUs that the stack may use."""
    replica_memory_mb: int | None = None
    """Memory that all replicas together may take, MiB; None for no bound."""
    windows: Windows = field(default_factory=Windows)
    """Of the autoscaler."""
    spool_mode: SpoolMode = SpoolMode.AVAILABLE
    """What becomes of answers that are to be logged and cannot be."""
