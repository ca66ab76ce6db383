"""An endpoint that counts how often its model is run, whatever clients see of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support.stack import MANAGEMENT, QUERY, Stack, register_code, wait_for


class Counted:
    """The endpoint `counted`, four requests at a time."""

    def __init__(self, stack: Stack, file: Path) -> None:
        self._stack = stack
        self._file = file

    def row(self, tag: str, seconds: float) -> dict[str, Any]:
        """What to ask: write down `tag`, then take so long."""
        return {"file": str(self._file), "tag": tag, "seconds": seconds}

    def runs(self, tag: str) -> list[str]:
        """The ids of the runs of a tag, as the model wrote them down."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        return [run for line in lines for name, run in [line.split()] if name == tag]

    def post(
        self, tag: str, seconds: float, *, patience_s: float = 60, token: str = "", entity: str = ""
    ) -> requests.Response | None:
        """One request of a client without retry; None if it took longer than its patience."""
        which = f"/served-models/{entity}" if entity else ""
        try:
            return requests.post(
                f"{self._stack.url}{QUERY}/counted{which}/invocations",
                json={"dataframe_records": [self.row(tag, seconds)]},
                headers={"Authorization": f"Bearer {token or self._stack.token}"},
                timeout=patience_s,
            )
        except requests.Timeout:
            return None

    def leave(self, tag: str, seconds: float) -> None:
        """Ask, and leave once the model is at work."""
        leaving = threading.Thread(target=lambda: self.post(tag, seconds, patience_s=1))
        leaving.start()
        wait_for(lambda: self.runs(tag), f"a run of {tag}")
        leaving.join()


@contextmanager
def serving_counted(stack: Stack, file: Path) -> Iterator[Counted]:
    """The endpoint while the block runs."""
    register_code("counted", "counted_model.py")
    served = {
        "name": "counted-1",
        "entity_name": "counted",
        "entity_version": "1",
        "workload_size": "Small",
        "environment_vars": {"PENSTOCK_EXECUTOR": "threads"},
    }
    answer = stack.call("POST", MANAGEMENT, {"name": "counted", "config": {"served_entities": [served]}})
    assert answer.ok, answer.text
    try:
        stack.wait_ready("counted")
        yield Counted(stack, file)
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/counted")
