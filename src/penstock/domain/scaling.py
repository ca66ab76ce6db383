"""The autoscaler's decision: how many replicas a served entity should have, from recorded load and nothing else.

Load is the number of calls waiting or at work, on average in each second. Two windows are looked at, as in Knative's
autoscaler: the *stable* one tells what is needed, the short *panic* one whether to hurry.

    up      the averages over both windows need more replicas, or that over the panic window at least twice as many
    down    the highest panic average within the stable window would fit into fewer
    zero    nothing at all was asked for the time after which the entity may sleep

Down looks back over a whole stable window, so that a step down follows a step up after such a window at the earliest: a
load that swings faster than that changes nothing.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from penstock.domain.limits import Limits, Windows
from penstock.domain.model_check import ModelCheck
from penstock.domain.prediction import ExecutorKind
from penstock.domain.served_entity import ServedEntity
from penstock.domain.sizing import CONCURRENCY_PER_REPLICA, MAX_CONCURRENCY, Sizing

TARGET_UTILISATION = 0.7
"""The share of a replica's concurrency that is planned to be in use; the rest takes what swings around the average."""
TARGET_CONCURRENCY = CONCURRENCY_PER_REPLICA * TARGET_UTILISATION
"""Calls that one replica is to have at a time."""
MAX_REPLICAS = MAX_CONCURRENCY // CONCURRENCY_PER_REPLICA
PANIC_FACTOR = 2
"""The panic window acts alone if it needs so many times the replicas there are."""


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """How few and how many replicas an entity may have."""

    low: int
    """0 if it may sleep."""
    high: int

    @property
    def start(self) -> int:
        """How many it begins with."""
        return max(self.low, 1)

    def clamp(self, replicas: int) -> int:
        """The nearest number within the bounds."""
        return min(max(replicas, self.low), self.high)


def sizing_bounds(sizing: Sizing, limits: Limits, check: ModelCheck | None = None) -> ReplicaBounds:
    """The bounds that a sizing makes on a machine.

    A replica stands for four calls at a time. Replicas that compute would only take turns if there were more of them
    than cores, so what is provisioned beyond them is queue; those that wait for others (the `threads` executor) are
    bounded by memory alone.

    Args:
        sizing: what was asked for.
        limits: the machine.
        check: what is known of the model; without it, it is taken for one that computes.
    """
    most = limits.cores
    if check is not None:
        most = MAX_REPLICAS if check.executor is ExecutorKind.THREADS else limits.cores
        if limits.replica_memory_mb is not None and check.peak_memory_bytes:
            most = min(most, (limits.replica_memory_mb << 20) // check.peak_memory_bytes)
    low, high = (max(1, min(math.ceil(calls / CONCURRENCY_PER_REPLICA), most)) for calls in sizing.bounds())
    return ReplicaBounds(0 if sizing.scale_to_zero else low, high)


def replicas_of(
    deployment: str, entity: ServedEntity, limits: Limits, scales: Mapping[str, int], check: ModelCheck | None
) -> int:
    """How many replicas a deployment of an entity is to have now; 0 if it sleeps.

    Args:
        deployment: the entity's key.
        entity: what it serves.
        limits: the machine.
        scales: what the autoscaler has decided, by deployment; one that it has not seen begins at its start.
        check: what is known of its model.
    """
    bounds = sizing_bounds(entity.sizing, limits, check)
    return bounds.clamp(scales.get(deployment, bounds.start))


def desired_replicas(
    history: Sequence[float], idle_s: float, current: int, bounds: ReplicaBounds, windows: Windows
) -> int:
    """How many replicas there should be.

    Args:
        history: calls waiting or at work in each of the last seconds, the newest last; `windows.history_s` of them, or
            as many as are known. Before a whole stable window is known nothing is scaled down.
        idle_s: for how long there has been no call, counted from when the entity was first ready.
        current: how many replicas there are or are starting.
        bounds: of the entity.
        windows: how far to look back.
    """
    panic = _needed(_average(history[-windows.panic_s :]))
    if not current:
        return bounds.clamp(panic)
    stable = _needed(_average(history[-windows.stable_s :]))
    wanted = panic if panic >= PANIC_FACTOR * current else min(stable, panic)
    if wanted > current:
        return bounds.clamp(wanted)
    if len(history) < windows.stable_s:
        return bounds.clamp(current)
    if idle_s >= windows.zero_after_s:
        return bounds.clamp(0)
    kept = _needed(max(_rolling_averages(history, windows.panic_s)))
    return bounds.clamp(max(1, min(current, kept)))


def replay(load: Iterable[float], bounds: ReplicaBounds, windows: Windows) -> list[int]:
    """The number of replicas in each second of a recorded load, had the policy decided once a second."""
    past: deque[float] = deque(maxlen=windows.history_s)
    replicas, idle_s, series = bounds.start, 0.0, []
    for calls in load:
        past.append(calls)
        idle_s = 0.0 if calls else idle_s + 1
        replicas = desired_replicas(tuple(past), idle_s, replicas, bounds, windows)
        series.append(replicas)
    return series


def _needed(calls: float) -> int:
    return math.ceil(calls / TARGET_CONCURRENCY)


def _average(history: Sequence[float]) -> float:
    return sum(history) / len(history) if history else 0.0


def _rolling_averages(history: Sequence[float], width: int) -> list[float]:
    """Averages of every `width` values in a row, or of all if there are fewer."""
    if len(history) <= width:
        return [_average(history)]
    sums = [0.0, *accumulate(history)]
    return [(end - begin) / width for begin, end in zip(sums, sums[width:], strict=False)]
