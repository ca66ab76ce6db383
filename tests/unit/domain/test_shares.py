"""Memory: who is admitted, and who gets how much of what is left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.endpoint import EndpointConfig
from penstock.domain.limits import Limits
from penstock.domain.prediction import ExecutorKind
from penstock.domain.scaling import ReplicaBounds, sizing_bounds
from penstock.domain.shares import Claim, fair_shares, promised_bytes, refusal
from penstock.domain.sizing import Sizing, WorkloadSize
from unit.builders import CHECK, LIMITS, entity, live

MIB = 1 << 20
HEAVY = replace(CHECK, peak_memory_bytes=300 * MIB)
THREADED = replace(CHECK, executor=ExecutorKind.THREADS)
TIGHT = replace(LIMITS, replica_memory_mb=1000, cores=8)
MEDIUM = entity(sizing=Sizing(WorkloadSize.MEDIUM))


@pytest.mark.parametrize(
    ("served", "limits", "check", "bounds"),
    [
        (Sizing(WorkloadSize.LARGE), TIGHT, HEAVY, ReplicaBounds(3, 3)),
        (Sizing(WorkloadSize.LARGE), TIGHT, replace(HEAVY, peak_memory_bytes=2000 * MIB), ReplicaBounds(1, 1)),
        (Sizing(WorkloadSize.LARGE), TIGHT, replace(HEAVY, peak_memory_bytes=None), ReplicaBounds(4, 8)),
        (Sizing(WorkloadSize.LARGE), replace(TIGHT, replica_memory_mb=None), HEAVY, ReplicaBounds(4, 8)),
        (Sizing(WorkloadSize.LARGE), TIGHT, THREADED, ReplicaBounds(4, 16)),
        (Sizing(WorkloadSize.LARGE), TIGHT, replace(THREADED, peak_memory_bytes=100 * MIB), ReplicaBounds(4, 10)),
    ],
)
def test_p3_2_cores_bound_what_computes_and_memory_bounds_all(
    served: object, limits: Limits, check: object, bounds: ReplicaBounds
) -> None:
    assert sizing_bounds(served, limits, check) == bounds  # type: ignore[arg-type]


def config(*entities: object) -> EndpointConfig:
    return EndpointConfig(1, tuple(entities), ())  # type: ignore[arg-type]


def test_p3_2_what_does_not_fit_beside_the_others_is_refused_with_numbers() -> None:
    checks = {MEDIUM.name: HEAVY}
    assert refusal(config(MEDIUM), checks, 400 * MIB, TIGHT) is None
    message = refusal(config(MEDIUM), checks, 401 * MIB, TIGHT)
    assert message is not None
    for part in ("600 MB", "1000 MB", "401 MB", "PENSTOCK_REPLICA_MEMORY_MB"):
        assert part in message
    assert refusal(config(MEDIUM), {}, 10**12, TIGHT) is None, "nothing is known of it yet"
    assert refusal(config(MEDIUM), checks, 10**12, replace(TIGHT, replica_memory_mb=None)) is None


def test_p3_2_what_may_sleep_is_promised_nothing() -> None:
    sleepy = entity(sizing=Sizing(scale_to_zero=True))
    serving = live(MEDIUM)
    assert serving.active is not None
    checked = replace(serving, active=replace(serving.active, checks={MEDIUM.name: HEAVY}))
    asleep = live(sleepy)
    assert asleep.active is not None
    asleep = replace(asleep, active=replace(asleep.active, checks={sleepy.name: HEAVY}))
    assert promised_bytes([checked, asleep], TIGHT) == 2 * 300 * MIB


def test_p3_2_under_contention_everybody_gets_the_least_and_then_one_after_the_other() -> None:
    claims = [Claim("a", 1, 4, 100), Claim("b", 1, 2, 100), Claim("c", 0, 0, 100), Claim("d", 2, 2, 100)]
    assert fair_shares(claims, None) == {"a": 4, "b": 2, "c": 0, "d": 2}
    assert fair_shares(claims, 800) == {"a": 4, "b": 2, "c": 0, "d": 2}
    assert fair_shares(claims, 700) == {"a": 3, "b": 2, "c": 0, "d": 2}
    assert fair_shares(claims, 500) == {"a": 2, "b": 1, "c": 0, "d": 2}
    assert fair_shares(claims, 100) == {"a": 1, "b": 1, "c": 0, "d": 2}


claims = st.lists(
    st.builds(
        lambda low, more, size: Claim("", low, low + more, size),
        st.integers(0, 4),
        st.integers(0, 9),
        st.integers(0, 50),
    ),
    max_size=6,
).map(lambda drawn: [replace(claim, deployment=str(index)) for index, claim in enumerate(drawn)])


@given(claims, st.integers(0, 2000))
def test_p3_2_shares_keep_promises_never_exceed_wishes_and_leave_nothing_that_would_fit(
    drawn: list[Claim], capacity: int
) -> None:
    shares = fair_shares(drawn, capacity)
    used = sum(shares[claim.deployment] * claim.replica_bytes for claim in drawn)
    least = sum(min(max(claim.low, 1), claim.wanted) * claim.replica_bytes for claim in drawn)
    assert used <= max(capacity, least)
    for claim in drawn:
        share = shares[claim.deployment]
        assert min(max(claim.low, 1), claim.wanted) <= share <= claim.wanted
        assert share == claim.wanted or claim.replica_bytes > capacity - used
