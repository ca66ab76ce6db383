"""What GPUs are used for, as the driver's tool tells it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

QUERY = "index,uuid,utilization.gpu,memory.used,memory.total"
"""The fields that are asked for, in this order."""
_FIELDS = QUERY.count(",") + 1


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One device at one moment."""

    index: str
    uuid: str
    busy_percent: float
    memory_percent: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of several devices."""

    avg: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """What the devices of an entity's replicas are used for."""

    busy_percent: Spread
    memory_percent: Spread


def parse_readings(text: str) -> list[GpuReading]:
    """What the tool prints as CSV without heads and units; a device that does not tell everything is left out."""
    readings = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != _FIELDS:
            continue
        try:
            busy, used, total = map(float, fields[2:])
        except ValueError:  # "[N/A]": a device that is split, or does not measure
            continue
        if total > 0:
            readings.append(GpuReading(fields[0], fields[1], busy, 100 * used / total))
    return readings


def devices_of(variable: str) -> tuple[str, ...]:
    """The devices that `CUDA_VISIBLE_DEVICES` names."""
    return tuple(filter(None, (part.strip() for part in variable.split(","))))


def usage_of(samples: Iterable[Sequence[GpuReading]], devices: Iterable[str]) -> GpuUsage | None:
    """What these devices were used for, each on average over the samples; None if none of them was seen.

    A device is named by its index, or by the beginning of its UUID, as CUDA takes it.
    """
    wanted = set(devices)
    seen: dict[str, list[GpuReading]] = {}
    for reading in (reading for sample in samples for reading in sample):
        if any(name == reading.index or (name and reading.uuid.startswith(name)) for name in wanted):
            seen.setdefault(reading.uuid, []).append(reading)
    if not seen:
        return None
    busy = [fmean(reading.busy_percent for reading in readings) for readings in seen.values()]
    memory = [fmean(reading.memory_percent for reading in readings) for readings in seen.values()]
    return GpuUsage(_spread(busy), _spread(memory))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(fmean(values), min(values), max(values))
