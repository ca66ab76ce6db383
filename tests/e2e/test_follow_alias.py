"""Following the registry: an alias that moves moves the endpoint, and a model that is not there yet is waited for."""

import json
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import mlflow
import pytest
from databricks.sdk.errors import OperationTimeout
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput

from support.load import Load
from support.stack import (
    MANAGEMENT,
    Stack,
    entity,
    penstock,
    refused,
    register_broken,
    register_echo,
    wait_for,
)

Create = Callable[..., dict[str, Any]]


def following(model: str, **fields: Any) -> dict[str, Any]:
    return {"entity_name": model, "entity_version": "@champion", "follow_alias": True, **fields}


def alias(model: str, version: str) -> None:
    mlflow.MlflowClient().set_registered_model_alias(model, "champion", version)


def kinds(stack: Stack, name: str) -> list[str]:
    """What happened, beside what replicas do, the oldest first."""
    events = stack.call("GET", f"{MANAGEMENT}/{name}/events?limit=1000").json()["events"]
    return [event["kind"] for event in reversed(events) if not event["kind"].startswith("REPLICA")]


def wait_for_kind(stack: Stack, name: str, kind: str, count: int = 1) -> None:
    wait_for(lambda: kinds(stack, name).count(kind) >= count, f"{count} x {kind}")


def answers(stack: Stack, name: str) -> str:
    return stack.ask(name).json()["predictions"][0]["version"]


def test_p3_10_an_endpoint_may_be_declared_before_its_model(
    stack: Stack, create: Create, fresh: Callable[[str], str]
) -> None:
    created = create("early", following("later"), ready=False)
    assert created["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS", "suspend": "NOT_SUSPENDED"}
    (served,) = created["pending_config"]["served_entities"]
    assert (served["name"], served["entity_alias"], served["follow_alias"]) == ("later-champion", "champion", True)
    assert served["state"]["deployment"] == "DEPLOYMENT_CREATING"
    assert served["state"]["deployment_state_message"] == "Waits for model 'later' alias 'champion'."
    refused(stack.ask("early"), 400, "BAD_REQUEST", "waits for a model")
    endpoints = stack.workspace().serving_endpoints
    with pytest.raises((TimeoutError, OperationTimeout)):
        endpoints.wait_get_serving_endpoint_not_updating("early", timeout=timedelta(seconds=1))
    waits = penstock("endpoints", "create", fresh("cli-early"), "--model", "later@champion", "--follow",
                     "--timeout", "1", home=stack.home)  # fmt: skip
    assert waits.returncode == 6
    assert "Waits for model 'later' alias 'champion'." in waits.stderr

    without = {"entity_name": "later", "entity_version": "@champion"}
    answer = stack.call("POST", MANAGEMENT, {"name": fresh("strict"), "config": {"served_entities": [without]}})
    refused(answer, 404, "RESOURCE_DOES_NOT_EXIST", "later")
    (process,) = stack.ps("control-plane")
    os.kill(process["pid"], signal.SIGKILL)

    version = register_echo("first", name="later")
    alias("later", version)
    for name in ("early", "cli-early"):
        document = stack.wait_ready(name)
        assert document["config"]["config_version"] == 1
        assert document["config"]["served_entities"][0]["entity_version"] == version
        assert answers(stack, name) == "first"
    assert kinds(stack, "early") == [
        *("CREATED", "UPDATE_STARTED", "WAITING_FOR_MODEL", "MODEL_FOUND"),
        *("TRAFFIC_SWITCHED", "UPDATE_COMPLETED"),
    ]


def test_p3_10_a_config_that_waits_gives_way_to_any_other(stack: Stack, create: Create) -> None:
    create("impatient", entity("1"))
    path = f"{MANAGEMENT}/impatient/config"
    for config in ([following("never")], [following("never-either")], [entity("2")]):
        assert stack.call("PUT", path, {"served_entities": config}).status_code == 200
        assert answers(stack, "impatient") in {"1", "2"}
    stack.wait_ready("impatient")
    assert stack.call("PUT", path, {"served_entities": [following("never")]}).status_code == 200
    stopped = stack.call("POST", f"{MANAGEMENT}/impatient/config:stop").json()
    assert (stopped["state"]["suspend"], "pending_config" in stopped) == ("STOPPED", False)
    versions = stack.call("GET", f"{MANAGEMENT}/impatient/history").json()["versions"]
    assert [v["outcome"] for v in versions] == ["SUPERSEDED", "COMPLETED", "SUPERSEDED", "SUPERSEDED", "COMPLETED"]
    refused(
        stack.call("POST", f"{MANAGEMENT}/impatient/config:rollback", {"config_version": 2}),
        *(400, "INVALID_PARAMETER_VALUE", "waited for a model"),
    )


def test_p3_10_an_alias_that_moves_is_followed_put_back_if_it_fails_and_pinned_when_asked(
    stack: Stack, create: Create
) -> None:
    for text in ("one", "two"):
        register_echo(text, name="moved")
    assert register_broken("moved") == "3"
    alias("moved", "1")
    create("follower", following("moved", name="e"))
    with Load(stack, "follower") as load:
        alias("moved", "2")
        wait_for(lambda: answers(stack, "follower") == "two", "the second version")
        document = stack.wait_ready("follower")
        (served,) = document["config"]["served_entities"]
        assert (served["entity_version"], served["entity_alias"], served["follow_alias"]) == ("2", "champion", True)

        alias("moved", "3")
        wait_for_kind(stack, "follower", "UPDATE_FAILED")
        document = stack.get("follower")
        assert document["state"]["config_update"] == "UPDATE_FAILED"
        assert document["state"]["ready"] == "READY"
        # Whoever follows looks at all endpoints in one go: a look that has moved another has left this one alone.
        before = document["pending_config"]["config_version"]
        alias("moved-too", register_echo("x", name="moved-too"))
        create("witness", following("moved-too"))
        alias("moved-too", register_echo("y", name="moved-too"))
        wait_for_kind(stack, "witness", "ALIAS_MOVED")
        assert stack.get("follower")["pending_config"]["config_version"] == before

        alias("moved", "1")
        wait_for(lambda: answers(stack, "follower") == "one", "the first version, by the alias")
        mlflow.MlflowClient().delete_registered_model_alias("moved", "champion")
        wait_for_kind(stack, "follower", "ALIAS_REMOVED")
        assert stack.wait_ready("follower")["config"]["served_entities"][0]["entity_version"] == "1"
    assert load.outcomes.failed == {}

    alias("moved", "1")
    typed = ServedEntityInput(name="e", entity_name="moved", entity_version="1", workload_size="Small",
                              scale_to_zero_enabled=False)  # fmt: skip
    stack.workspace().serving_endpoints.update_config_and_wait("follower", served_entities=[typed])
    assert kinds(stack, "follower")[-4:] == ["PINNED", "UPDATE_STARTED", "TRAFFIC_SWITCHED", "UPDATE_COMPLETED"]
    history = stack.call("GET", f"{MANAGEMENT}/follower/history").json()["versions"]
    assert [v["author"] for v in reversed(history)] == ["admin", *["follow_alias"] * 3, "admin"]
    assert "models:/moved@champion leads to version 2 now." in json.dumps(history)
    assert EndpointCoreConfigInput.from_dict(stack.get("follower")["config"]).served_entities[0].entity_version == "1"
