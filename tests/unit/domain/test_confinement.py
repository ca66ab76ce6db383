"""What a replica may use, when it is ended, when it is renewed, and when it is looked at next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.confinement import (
    LEAK_FOR_S,
    MIB,
    RAREST_S,
    Confinement,
    Growth,
    Usage,
    confinement_of,
    excess,
    look_again_s,
)
from penstock.domain.limits import Limits
from penstock.domain.sizing import WorkloadType

CPU, GPU = WorkloadType.CPU, WorkloadType.GPU_SMALL


@pytest.mark.parametrize(
    ("environment", "kind", "limits", "memory_mb"),
    [
        ({}, CPU, Limits(), 4096),
        ({}, WorkloadType.CPU_LARGE, Limits(memory_mb=64_000), 16384),
        ({}, CPU, Limits(memory_mb=4096), 4096 - 512),
        ({}, WorkloadType.CPU_MEDIUM, Limits(memory_mb=8000), 7200),
        ({}, CPU, Limits(memory_mb=300), 256),
        ({}, GPU, Limits(), None),
        ({}, GPU, Limits(memory_mb=100_000), 90_000),
        ({}, CPU, Limits(memory_mb=4096, memory_limit_mb=100_000), 100_000),
        ({"PENSTOCK_MEMORY_LIMIT_MB": "70"}, CPU, Limits(memory_limit_mb=9000), 70),
    ],
)
def test_the_cap_is_the_entity_s_else_the_stack_s_else_the_type_s(
    environment: dict[str, str], kind: WorkloadType, limits: Limits, memory_mb: int | None
) -> None:
    assert confinement_of(environment, kind, limits).memory_mb == memory_mb


def test_processes_and_files_may_be_set_for_an_entity() -> None:
    environment = {"PENSTOCK_PROCESS_LIMIT": "20", "PENSTOCK_FILE_LIMIT": "70"}
    assert confinement_of(environment, CPU, Limits()) == Confinement(4096, 20, 70)
    assert confinement_of({}, CPU, Limits(process_limit=9, file_limit=8)) == Confinement(4096, 9, 8)


@pytest.mark.parametrize(
    ("usage", "confinement", "said"),
    [
        (Usage(100 * MIB, 5), Confinement(100, 5), None),
        (Usage(100 * MIB + 1, 5), Confinement(100, 5), "OOM at 101 of 100 MB"),
        (Usage(1 << 50, 5), Confinement(None, 5), None),
        (Usage(1 << 50, 6), Confinement(100, 5), "6 processes and threads, of 5 that PENSTOCK_PROCESS_LIMIT"),
    ],
)
def test_what_is_too_much(usage: Usage, confinement: Confinement, said: str | None) -> None:
    reason = excess(usage, confinement)
    assert (reason is None) if said is None else said in str(reason)


def grown(*seen: tuple[float, int]) -> Growth:
    growth = Growth(Usage(seen[0][1] * MIB, 1, seen[0][0]))
    for at_s, used_mb in seen:
        growth = growth.seen(Usage(used_mb * MIB, 1, at_s))
    return growth


@pytest.mark.parametrize(
    ("growth", "leaks"),
    [
        (grown((0, 100), (9, 900), (9.5, 900), (10, 900)), True),
        (grown((0, 100), (9, 900), (9.5, 100), (10, 900)), False),
        (grown((0, 100), (9, 820), (9.5, 820), (10, 820)), False),
        (grown((0, 950), (9, 950), (9.5, 950), (10, 990)), False),
        (grown((0, 950), (9, 995), (9.5, 995), (10, 995)), True),
        (grown((0, 900), (0.5, 990)), False),
        (grown((0, 100)), False),
    ],
)
def test_a_leak_is_memory_that_does_not_go_again(growth: Growth, leaks: bool) -> None:
    reason = growth.leak(Confinement(1000))
    assert (reason is not None) == leaks
    assert reason is None or "before it ran out of memory" in reason
    assert growth.leak(Confinement(None)) is None


@given(st.integers(1, 2000), st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_a_replica_that_stays_as_it_was_is_never_renewed(at_ready_mb: int, freed_mb: list[int]) -> None:
    growth = Growth(Usage(at_ready_mb * MIB, 1))
    for index, less_mb in enumerate(freed_mb):
        growth = growth.seen(Usage(max(at_ready_mb - less_mb, 0) * MIB, 1, index / 3))
        assert growth.leak(Confinement(2000)) is None
        assert growth.recent[-1].at_s - growth.recent[0].at_s <= LEAK_FOR_S, "what is kept is bounded"


@given(st.integers(0, 8 << 30), st.integers(1, 512), st.integers(64, 8192), st.floats(0, 10))
def test_the_next_look_comes_before_what_is_left_can_be_filled(
    used: int, tasks: int, cap_mb: int, cost_s: float
) -> None:
    soon_s = look_again_s(Usage(used, tasks), Confinement(cap_mb), cost_s)
    assert 0.05 <= soon_s <= 1
    if cost_s <= 0.001:
        assert soon_s <= RAREST_S
        assert soon_s == 0.05 or soon_s * (2 << 30) <= cap_mb * MIB - used
    else:
        assert soon_s >= min(cost_s / 0.02, 1), "looking costs at most two hundredths of a core"
