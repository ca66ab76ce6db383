"""GPUs: how many a type of workload needs, which of them a stack may use, and which one a replica gets.

The numbers are those of Databricks Model Serving's public documentation. A device may be shared: each is given to as
few replicas as possible.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from penstock.domain.sizing import WorkloadType

VISIBLE = "CUDA_VISIBLE_DEVICES"

GPUS_OF = {
    WorkloadType.GPU_SMALL: 1,
    WorkloadType.GPU_MEDIUM: 1,
    WorkloadType.GPU_LARGE: 1,
    WorkloadType.GPU_XLARGE: 1,
    WorkloadType.GPU_LARGE_2: 2,
    WorkloadType.MULTIGPU_MEDIUM: 4,
    WorkloadType.GPU_MEDIUM_8: 8,
    WorkloadType.GPU_XLARGE_8: 8,
}
"""Devices of each replica; the types that are not here are CPU types."""


def lack(workload_type: WorkloadType, gpus: int) -> str | None:
    """What a machine with so many GPUs lacks for a type of workload, if anything."""
    wanted = GPUS_OF.get(workload_type, 0)
    if wanted <= gpus:
        return None
    has = f"has {gpus}" if gpus else "has none"
    return f"workload_type {workload_type} needs {wanted} GPU{'s' if wanted > 1 else ''}; this machine {has}."


def usable(found: int, variable: str | None) -> tuple[str, ...]:
    """The devices that a stack may use, by the names that go into the variable.

    Args:
        found: how many the machine has.
        variable: what `CUDA_VISIBLE_DEVICES` holds where the stack was started; it is read as CUDA reads it, which
            means that an index that does not exist ends the list.
    """
    if variable is None or not found:
        return tuple(str(index) for index in range(found))
    names: list[str] = []
    for part in variable.split(","):
        name = part.strip()
        is_there = int(name) < found if name.isascii() and name.isdigit() else name.startswith(("GPU-", "MIG-"))
        if not is_there or name in names:
            break
        names.append(name)
    return tuple(names)


def assign(devices: Sequence[str], taken: Iterable[Sequence[str]], count: int) -> tuple[str, ...]:
    """The `count` devices that the fewest replicas have, the first ones first.

    Args:
        devices: those of the stack.
        taken: the devices of each replica there is.
        count: how many are wanted; at most as many as there are.
    """
    uses = Counter(device for own in taken for device in own)
    chosen = set(sorted(devices, key=lambda device: (uses[device], devices.index(device)))[:count])
    return tuple(device for device in devices if device in chosen)
