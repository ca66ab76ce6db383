"""Workload sizes: what was asked for, and how many replicas that makes.

The sizes and their provisioned concurrency are those of Databricks Model Serving's public documentation:
Small 4, Medium 8 to 16, Large 16 to 64; one unit of concurrency is one request at a time.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from penstock.domain.errors import InvalidParameterValue

CONCURRENCY_PER_REPLICA = 4
MAX_CONCURRENCY = 1024


class WorkloadSize(StrEnum):
    """A named range of provisioned concurrency."""

    SMALL = "Small"
    MEDIUM = "Medium"
    LARGE = "Large"


class WorkloadType(StrEnum):
    """A class of hardware."""

    CPU = "CPU"
    CPU_MEDIUM = "CPU_MEDIUM"
    CPU_LARGE = "CPU_LARGE"
    GPU_SMALL = "GPU_SMALL"
    GPU_MEDIUM = "GPU_MEDIUM"
    GPU_LARGE = "GPU_LARGE"
    GPU_XLARGE = "GPU_XLARGE"
    GPU_XLARGE_8 = "GPU_XLARGE_8"
    GPU_MEDIUM_8 = "GPU_MEDIUM_8"
    GPU_LARGE_2 = "GPU_LARGE_2"
    MULTIGPU_MEDIUM = "MULTIGPU_MEDIUM"


_E = TypeVar("_E", bound=StrEnum)

_CONCURRENCY = {WorkloadSize.SMALL: (4, 4), WorkloadSize.MEDIUM: (8, 16), WorkloadSize.LARGE: (16, 64)}


@dataclass(frozen=True, slots=True)
class Sizing:
    """Either a named size or explicit bounds of concurrency, as it was asked for."""

    size: WorkloadSize | None = WorkloadSize.SMALL
    workload_type: WorkloadType = WorkloadType.CPU
    scale_to_zero: bool = False
    min_concurrency: int | None = None
    max_concurrency: int | None = None

    def bounds(self) -> tuple[int, int]:
        """Least and most requests at a time."""
        if self.size is not None:
            return _CONCURRENCY[self.size]
        high = self.max_concurrency if self.max_concurrency is not None else CONCURRENCY_PER_REPLICA
        low = self.min_concurrency if self.min_concurrency is not None else min(high, CONCURRENCY_PER_REPLICA)
        return low, high


def choose_sizing(
    field: str,
    size: str | None,
    workload_type: str | None,
    scale_to_zero: bool | None,
    min_concurrency: int | None,
    max_concurrency: int | None,
) -> Sizing:
    """Fill in the defaults of one served entity's sizing.

    Raises:
        InvalidParameterValue: an unknown size or type, a size beside explicit bounds, or bad bounds.
    """
    kind = _member(WorkloadType, f"{field}.workload_type", workload_type or WorkloadType.CPU)
    bounds = {"min_provisioned_concurrency": min_concurrency, "max_provisioned_concurrency": max_concurrency}
    given = {name: value for name, value in bounds.items() if value is not None}
    if not given:
        chosen = _member(WorkloadSize, f"{field}.workload_size", size or WorkloadSize.SMALL)
        return Sizing(chosen, kind, bool(scale_to_zero))
    if size is not None:
        raise InvalidParameterValue(
            f"{field}: workload_size '{size}' and {' and '.join(given)} came together; give one or the other."
        )
    for name, value in given.items():
        if not 0 <= value <= MAX_CONCURRENCY or value % CONCURRENCY_PER_REPLICA:
            raise InvalidParameterValue(
                f"{field}.{name}: got {value}; wanted a multiple of {CONCURRENCY_PER_REPLICA} "
                f"from 0 to {MAX_CONCURRENCY}."
            )
    if max_concurrency == 0:
        raise InvalidParameterValue(f"{field}.max_provisioned_concurrency: got 0; wanted at least 4.")
    if min_concurrency is not None and max_concurrency is not None and min_concurrency > max_concurrency:
        raise InvalidParameterValue(
            f"{field}.min_provisioned_concurrency: got {min_concurrency}, "
            f"which is over max_provisioned_concurrency {max_concurrency}."
        )
    if max_concurrency is None:
        max_concurrency = max(min_concurrency or 0, CONCURRENCY_PER_REPLICA)
    if min_concurrency is None:
        min_concurrency = CONCURRENCY_PER_REPLICA
    return Sizing(None, kind, bool(scale_to_zero), min_concurrency, max_concurrency)


def _member(enum: type[_E], field: str, value: str) -> _E:
    try:
        return enum(value)
    except ValueError:
        raise InvalidParameterValue(f"{field}: got '{value}'; wanted one of {', '.join(enum)}.") from None
