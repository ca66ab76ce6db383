"""What a process of the stack has used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """One process, with all that it started; a slot whose process is away has used nothing."""

    role: str
    name: str
    endpoint: str = ""
    """Of a replica."""
    entity: str = ""
    """Of a replica."""
    restarts: int = 0
    """Since the stack was started."""
    is_running: bool = False
    started_at_s: float = 0.0
    cpu_s: float = 0.0
    rss_bytes: int = 0
    open_files: int = 0
