"""What the reports of benches have in common: the machine, and how a report gets to a file."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil


def machine(load_before: tuple[float, float, float] | None = None) -> dict[str, Any]:
    """Where something was measured, and what else went on there: load averages of 1, 5 and 15 minutes."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_average_before": load_before,
        "load_average_after": os.getloadavg(),
    }


def give_out(report: dict[str, Any], file: Path | None) -> None:
    """Print a report, and write it to a file if there is to be one."""
    text = json.dumps(report, indent=2)
    print(text)
    if file is not None:
        file.write_text(text + "\n")
