"""Ours, as it is compared: everything that it does for a request in earnest is on."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

from comparing.peers import Served
from penstock.client.load.target import target_of
from support.stack import MANAGEMENT, QUERY, Stack

OURS = {
    "penstock": "token, traffic split over two entities of the same version, metrics, spool: two replicas",
    "penstock-one": "the same with one entity: one replica",
}
SETTINGS = {"PENSTOCK_SPOOL_MAX_MB": "8192"}
"""Of the stack. A spool that is full would cost nothing any more; it is emptied before every round."""


@contextmanager
def served_by_penstock(stack: Stack, peer: str, model: str, variables: dict[str, str]) -> Iterator[Served]:
    """An endpoint for a registered model while the block runs: what is to be on for every request is turned on here."""
    name = f"{model}-{peer}"
    body = {"name": name, "config": _config(model, 2 if peer == "penstock" else 1, variables)}
    stack.call("POST", MANAGEMENT, body).raise_for_status()
    try:
        stack.wait_ready(name)
        table = {"enabled": True, "catalog_name": "main", "schema_name": "default", "table_name_prefix": name}
        stack.call("PUT", f"{MANAGEMENT}/{name}/ai-gateway", {"inference_table_config": table}).raise_for_status()
        yield Served(
            target_of(f"{stack.url}{QUERY}/{name}/invocations"),
            {"content-type": "application/json", "authorization": f"Bearer {stack.token}"},
            lambda: [stack.pid],
            lambda: [p.pid for p in stack.processes("replica") if p.pid is not None and p.endpoint != name],
        )
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/{name}")


def empty_spool(home: Path) -> int:
    """Delete what is spooled but for the segments that may be written still; the number of bytes that were found."""
    found = 0
    for _, files in groupby(sorted((home / "spool").rglob("*.spool")), key=lambda file: file.parent):
        *whole, current = files
        found += sum(file.stat().st_size for file in whole)
        for file in whole:
            file.unlink()
        found += current.stat().st_size
    return found


def _config(model: str, entities: int, variables: dict[str, str]) -> dict[str, Any]:
    served = [
        {
            "name": f"part-{number}",
            "entity_name": model,
            "entity_version": "1",
            "workload_size": "Small",
            "environment_vars": variables,
        }
        for number in range(entities)
    ]
    share = 100 // entities
    routes = [{"served_entity_name": entity["name"], "traffic_percentage": share} for entity in served]
    return {"served_entities": served, "traffic_config": {"routes": routes}}
