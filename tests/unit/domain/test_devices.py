"""GPUs: which a stack may use, which a replica gets, and what is said where there are too few."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.devices import GPUS_OF, assign, lack, usable
from penstock.domain.replica import may_be_forked
from penstock.domain.sizing import WorkloadType


@pytest.mark.parametrize(
    ("kind", "gpus", "said"),
    [
        (WorkloadType.CPU_LARGE, 0, None),
        (WorkloadType.GPU_SMALL, 1, None),
        (WorkloadType.GPU_SMALL, 0, "workload_type GPU_SMALL needs 1 GPU; this machine has none."),
        (WorkloadType.GPU_MEDIUM_8, 4, "workload_type GPU_MEDIUM_8 needs 8 GPUs; this machine has 4."),
    ],
)
def test_what_a_machine_lacks_is_said_by_name(kind: WorkloadType, gpus: int, said: str | None) -> None:
    assert lack(kind, gpus) == said


def test_every_type_that_is_called_gpu_needs_one() -> None:
    assert set(GPUS_OF) == {kind for kind in WorkloadType if "GPU" in kind}


@pytest.mark.parametrize(
    ("found", "variable", "devices"),
    [
        (0, None, ()),
        (0, "0", ()),
        (3, None, ("0", "1", "2")),
        (3, "2,0", ("2", "0")),
        (3, " 1 ", ("1",)),
        (3, "1,7,0", ("1",)),
        (3, "", ()),
        (3, "-1", ()),
        (3, "1,1", ("1",)),
        (2, "GPU-8932f937,MIG-41b3", ("GPU-8932f937", "MIG-41b3")),
    ],
)
def test_the_stack_s_devices_are_those_that_cuda_would_see(
    found: int, variable: str | None, devices: tuple[str, ...]
) -> None:
    assert usable(found, variable) == devices


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n), max_size=30))))
def test_each_device_is_given_to_as_few_replicas_as_possible(machine: tuple[int, list[int]]) -> None:
    count, wishes = machine
    devices = tuple(str(index) for index in range(count))
    taken: list[tuple[str, ...]] = []
    for wish in wishes:
        own = assign(devices, taken, wish)
        assert len(set(own)) == wish
        taken.append(own)
    uses = Counter(device for own in taken for device in own)
    if uses:
        assert max(uses.values()) - min(uses[device] for device in devices) <= 1


def test_what_has_a_gpu_is_never_forked() -> None:
    assert not may_be_forked({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
