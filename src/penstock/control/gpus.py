"""Samples what GPUs are used for, while a replica has one, and keeps the last minute."""

import asyncio
import contextlib
import shutil
from collections import deque
from collections.abc import Callable, Sequence

import psutil

from penstock.domain.devices import VISIBLE
from penstock.domain.gpu import QUERY, GpuReading, GpuUsage, devices_of, parse_readings, usage_of

_EVERY_S = 10.0
_SAMPLES = 6
_TIMEOUT_S = 5.0


class Gpus:
    """The GPUs of this machine. Asking the driver's tool costs some 50 ms of a core, so it is asked seldom."""

    def __init__(self, are_used: Callable[[], bool]) -> None:
        self._are_used = are_used
        self._samples: deque[list[GpuReading]] = deque(maxlen=_SAMPLES)

    async def follow(self) -> None:
        """Sample until cancelled."""
        while True:
            if self._are_used() and (tool := shutil.which("nvidia-smi")) is not None:
                self._samples.append(await _readings(tool))
            else:
                self._samples.clear()
            await asyncio.sleep(_EVERY_S)

    def of(self, pids: Sequence[int]) -> GpuUsage | None:
        """What the devices of these processes were used for in the last minute; None if they have none."""
        devices: set[str] = set()
        for pid in pids if self._samples else ():
            with contextlib.suppress(psutil.Error):
                devices.update(devices_of(psutil.Process(pid).environ().get(VISIBLE, "")))
        return usage_of(self._samples, devices)


async def _readings(tool: str) -> list[GpuReading]:
    """What the tool tells; nothing if it fails or hangs."""
    try:
        process = await asyncio.create_subprocess_exec(
            tool,
            f"--query-gpu={QUERY}",
            "--format=csv,noheader,nounits",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return []
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        return []
    return parse_readings(output.decode("utf-8", "replace")) if process.returncode == 0 else []
