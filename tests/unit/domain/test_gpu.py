"""What the driver's tool tells of GPUs, and what of it belongs to a replica."""

from penstock.domain.gpu import GpuReading, Spread, devices_of, parse_readings, usage_of

TEXT = """0, GPU-aa11, 40, 1000, 4000
1, GPU-bb22, 80, 3000, 4000
2, GPU-cc33, [N/A], 0, 4000
nonsense
"""


def test_p5_5_a_device_that_does_not_tell_everything_is_left_out() -> None:
    assert parse_readings(TEXT) == [GpuReading("0", "GPU-aa11", 40, 25), GpuReading("1", "GPU-bb22", 80, 75)]
    assert parse_readings("") == []
    assert parse_readings("0, GPU-x, 1, 2, 0\n") == []


def test_p5_5_an_entitys_devices_are_told_together_on_average_over_the_minute() -> None:
    later = [GpuReading("0", "GPU-aa11", 60, 35), GpuReading("1", "GPU-bb22", 80, 75)]
    usage = usage_of([parse_readings(TEXT), later], devices_of("0, GPU-bb"))
    assert usage is not None
    assert usage.busy_percent == Spread(65, 50, 80)
    assert usage.memory_percent == Spread(52.5, 30, 75)


def test_p5_5_without_devices_there_is_nothing_to_tell() -> None:
    readings = [parse_readings(TEXT)]
    assert usage_of(readings, devices_of("")) is None
    assert usage_of(readings, ["7"]) is None
    assert usage_of([], ["0"]) is None
