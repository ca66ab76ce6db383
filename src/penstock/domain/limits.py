"""Limits: the machine, and the defaults that a served entity may override for itself."""

from dataclasses import dataclass


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
