"""An endpoint that counts how often its model is run, whatever clients see of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from support.stack import MANAGEMENT, QUERY, Stack, register_code, wait_for


class Counted:
    """An endpoint of that model, four requests at a time."""

    def __init__(self, stack: Stack, file: Path, name: str) -> None:
        self.name = name
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
        self,
        tag: str,
        seconds: float,
        *,
        patience_s: float = 60,
        token: str = "",
        entity: str = "",
        client: requests.Session | None = None,
    ) -> requests.Response | None:
        """One request of a client without retry; None if it took longer than its patience."""
        which = f"/served-models/{entity}" if entity else ""
        try:
            return (client or requests).post(
                f"{self._stack.url}{QUERY}/{self.name}{which}/invocations",
                json={"dataframe_records": [self.row(tag, seconds)]},
                headers={"Authorization": f"Bearer {token or self._stack.token}"},
                timeout=patience_s,
            )
        except requests.Timeout:
            return None

    def leave(self, tag: str, seconds: float, client: requests.Session | None = None) -> None:
        """Ask, and leave once the model is at work."""
        leaving = threading.Thread(target=lambda: self.post(tag, seconds, patience_s=1, client=client))
        leaving.start()
        wait_for(lambda: self.runs(tag), f"a run of {tag}")
        leaving.join()


@contextmanager
def serving_counted(stack: Stack, file: Path, name: str = "counted", **variables: str) -> Iterator[Counted]:
    """The endpoint while the block runs; its served entity is `<name>-1`."""
    version = register_code(name, "counted_model.py")
    served = {
        "name": f"{name}-1",
        "entity_name": name,
        "entity_version": version,
        "workload_size": "Small",
        "environment_vars": {"PENSTOCK_EXECUTOR": "threads", **variables},
    }
    answer = stack.call("POST", MANAGEMENT, {"name": name, "config": {"served_entities": [served]}})
    assert answer.ok, answer.text
    try:
        stack.wait_ready(name)
        yield Counted(stack, file, name)
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/{name}")
