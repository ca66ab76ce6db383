"""Who gets how much of the memory that all replicas together may take: admission, and fair shares under contention.

Memory is promised: what the least replicas of every endpoint hold is set aside for them, and an update whose own least
replicas do not fit beside that is refused. What is left is shared among those that want more than their least, one
replica at a time, to the one that has got the smallest part of what it wants. Replicas at zero are promised nothing.

Processor time is not shared out here: no entity has more replicas than there are cores, each computes on one core, and
the system's scheduler divides cores evenly among those that compute.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock.domain.confinement import MIB
from penstock.domain.endpoint import Endpoint, EndpointConfig
from penstock.domain.limits import Limits
from penstock.domain.model_check import ModelCheck
from penstock.domain.scaling import sizing_bounds


@dataclass(frozen=True, slots=True)
class Claim:
    """What one deployment wants."""

    deployment: str
    low: int
    """Replicas that are promised to it."""
    wanted: int
    replica_bytes: int
    """Memory of one replica; 0 if it is not known."""


def fair_shares(claims: Iterable[Claim], capacity_bytes: int | None) -> dict[str, int]:
    """How many replicas each deployment may have; `wanted` where there is enough for all.

    Args:
        claims: of all deployments.
        capacity_bytes: memory for all replicas; None for no bound.
    """
    claims = list(claims)
    if capacity_bytes is None or sum(claim.wanted * claim.replica_bytes for claim in claims) <= capacity_bytes:
        return {claim.deployment: claim.wanted for claim in claims}
    granted = {claim.deployment: min(max(claim.low, 1), claim.wanted) for claim in claims}
    left = capacity_bytes - sum(granted[claim.deployment] * claim.replica_bytes for claim in claims)
    hungry = [claim for claim in claims if granted[claim.deployment] < claim.wanted]
    while hungry:
        claim = min(hungry, key=lambda claim: (granted[claim.deployment] / claim.wanted, claim.deployment))
        if claim.replica_bytes <= left:
            granted[claim.deployment] += 1
            left -= claim.replica_bytes
        if claim.replica_bytes > left or granted[claim.deployment] == claim.wanted:
            hungry.remove(claim)
    return granted


def promised_bytes(endpoints: Iterable[Endpoint], limits: Limits) -> int:
    """Memory that the least replicas of these endpoints' serving configs hold, as far as it is known."""
    return sum(
        _least_bytes(endpoint.routed, endpoint.routed.checks, limits)
        for endpoint in endpoints
        if endpoint.routed is not None
    )


def refusal(config: EndpointConfig, checks: Mapping[str, ModelCheck], promised: int, limits: Limits) -> str | None:
    """Why a config cannot be admitted, if it cannot.

    Args:
        config: that is to come up.
        checks: what is known of its models, by entity.
        promised: memory that is promised to other endpoints.
        limits: the machine.
    """
    if limits.replica_memory_mb is None:
        return None
    needed_mb, promised_mb = _in_mib(_least_bytes(config, checks, limits)), _in_mib(promised)
    if not needed_mb or needed_mb + promised_mb <= limits.replica_memory_mb:
        return None
    return (
        f"There is not enough memory: the least replicas of this config hold {needed_mb} MB, and of the "
        f"{limits.replica_memory_mb} MB that replicas may take on this machine {promised_mb} MB are promised to other "
        "endpoints. Choose a smaller size or scale to zero, stop or delete an endpoint, or raise "
        "PENSTOCK_REPLICA_MEMORY_MB."
    )


def _least_bytes(config: EndpointConfig, checks: Mapping[str, ModelCheck], limits: Limits) -> int:
    total = 0
    for entity in config.entities:
        check = checks.get(entity.name)
        if check is not None:
            total += sizing_bounds(entity.sizing, limits, check).low * (check.peak_memory_bytes or 0)
    return total


def _in_mib(size_bytes: int) -> int:
    return math.ceil(size_bytes / MIB)
