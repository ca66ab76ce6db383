"""Ours, as it is compared: everything that it does for a request in earnest is on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from comparing.peers import Served
from penstock.client.load.target import target_of
from support.stack import MANAGEMENT, QUERY, Stack

OURS = {
    "penstock": "token, traffic split over two entities of the same version, metrics: two replicas",
    "penstock-one": "token, one entity, metrics: one replica",
}


@contextmanager
def served_by_penstock(stack: Stack, peer: str, model: str, variables: dict[str, str]) -> Iterator[Served]:
    """An endpoint for a registered model while the block runs."""
    name = f"{model}-{peer}"
    body = {"name": name, "config": _config(model, 2 if peer == "penstock" else 1, variables)}
    stack.call("POST", MANAGEMENT, body).raise_for_status()
    try:
        stack.wait_ready(name)
        yield Served(
            target_of(f"{stack.url}{QUERY}/{name}/invocations"),
            {"content-type": "application/json", "authorization": f"Bearer {stack.token}"},
            lambda: [stack.pid],
            lambda: [p.pid for p in stack.processes("replica") if p.pid is not None and p.endpoint != name],
        )
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/{name}")


def _config(model: str, entities: int, variables: dict[str, str]) -> dict[str, Any]:
    """The config of an endpoint: what is to be on for every request is turned on here."""
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
