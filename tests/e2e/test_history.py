"""History and undo, from outside: who gave which config, how it ended, what is different, and back again."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import pytest
import requests

from support.load import Load
from support.stack import MANAGEMENT, MODEL, Stack, entity, penstock, refused, register_echo, split, wait_for

Create = Callable[..., dict[str, Any]]
Headers = dict[str, str]


def told(stack: Stack, *arguments: str) -> Any:
    """What a command of ours prints as JSON."""
    result = penstock("endpoints", *arguments, "--json", home=stack.home)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def put(stack: Stack, name: str, *entities: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Give an endpoint a config, and wait until that has ended either way."""
    answer = stack.call("PUT", f"{MANAGEMENT}/{name}/config", {"served_entities": list(entities), **config})
    assert answer.status_code == 200, answer.text
    return stack.wait(name)


def version_of(stack: Stack, name: str) -> str:
    """Which version of the echo model answers."""
    return stack.ask(name).json()["predictions"][0]["version"]


@pytest.fixture
def viewer(stack: Stack) -> Iterator[Headers]:
    """Somebody who has no level on any endpoint yet."""
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "viewer@example.com"}).json()
    yield {"Authorization": f"Bearer {token['token']}"}
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")


def test_p3_9_every_version_is_told_with_who_when_what_and_how_it_ended(
    stack: Stack, create: Create, viewer: Headers
) -> None:
    endpoint = create("told", entity("1", environment_vars={"GREETING": "hello"}))
    put(stack, "told", entity("1"), entity("2"), traffic_config=split(m_1=90, m_2=10))
    put(stack, "told", {"entity_name": "broken", "entity_version": "1", "name": "b"})
    newest, second, first = told(stack, "history", "told")

    assert [v["config_version"] for v in (first, second, newest)] == [1, 2, 3]
    assert [v["outcome"] for v in (first, second, newest)] == ["COMPLETED", "COMPLETED", "FAILED"]
    assert [v["is_active"] for v in (first, second, newest)] == [False, True, False]
    assert "the weights are missing" in newest["failures"]["b"]
    assert {v["author"] for v in (first, second, newest)} == {"admin"}
    assert endpoint["creation_timestamp"] <= first["started_at_ms"] <= first["ended_at_ms"] <= second["started_at_ms"]
    changes = {change["field"]: (change["before"], change["after"]) for change in second["changes"]}
    assert changes["served_entities[m-1].environment_vars.GREETING"] == ("hello", None)
    assert changes["traffic_config[m-1].traffic_percentage"] == ("100", "90")
    assert changes["served_entities[m-2].entity_version"] == (None, "2")
    assert first["config"]["served_entities"][0]["environment_vars"] == {"GREETING": "hello"}

    assert told(stack, "diff", "told", "1", "2")["changes"] == second["changes"]
    assert told(stack, "diff", "told")["from"] == 2
    assert told(stack, "diff", "told", "2", "2")["changes"] == []
    shown = penstock("endpoints", "diff", "told", "1", "2", home=stack.home).stdout
    assert "~ traffic_config[m-1].traffic_percentage: 100 -> 90" in shown
    assert penstock("endpoints", "diff", "told", "1", "9", home=stack.home).returncode == 4
    table = penstock("endpoints", "history", "told", home=stack.home).stdout
    assert "b failed:" in table

    events = told(stack, "events", "told")
    kinds = [event["kind"] for event in reversed(events)]
    assert kinds[:2] == ["CREATED", "UPDATE_STARTED"]
    assert {"REPLICA_STARTED", "REPLICA_READY", "TRAFFIC_SWITCHED", "UPDATE_COMPLETED", "UPDATE_FAILED"} <= set(kinds)
    failed = next(event for event in events if event["kind"] == "UPDATE_FAILED")
    assert (failed["config_version"], failed["entity"]) == (3, "b")
    assert "the weights are missing" in failed["reason"]
    (process, *_) = stack.ps("replica", "told")
    os.kill(process["pid"], signal.SIGKILL)
    died = wait_for(
        lambda: [e for e in told(stack, "events", "told", "--limit", "5") if "signal 9" in e["reason"]], "the death"
    )
    assert (died[0]["kind"], died[0]["entity"]) == ("REPLICA_DIED", process["entity"])

    routes = [("GET", what) for what in ("events", "history", "history/diff")]
    own = {"user_name": "viewer@example.com", "permission_level": "CAN_VIEW"}
    for level, expected in ((None, 403), (own, 200)):
        if level is not None:
            path = f"/api/2.0/permissions/serving-endpoints/{endpoint['id']}"
            assert stack.call("PATCH", path, {"access_control_list": [level]}).status_code == 200
        for method, what in routes:
            answer = requests.request(method, f"{stack.url}{MANAGEMENT}/told/{what}", headers=viewer, timeout=30)
            assert answer.status_code == expected, answer.text
    undo = requests.post(f"{stack.url}{MANAGEMENT}/told/config:rollback", json={}, headers=viewer, timeout=30)
    assert undo.status_code == 403
    assert "viewer@example.com CAN_VIEW" in told(stack, "events", "told", "--limit", "1")[0]["reason"]


def test_p3_9_rollback_brings_an_earlier_config_back_and_loses_no_request(stack: Stack, create: Create) -> None:
    workspace = stack.workspace()
    workspace.secrets.create_scope("undo")
    try:
        workspace.secrets.put_secret("undo", "k", string_value="canary-undo")
        create("undo", entity("1", environment_vars={"KEY": "{{secrets/undo/k}}"}))
    finally:
        workspace.secrets.delete_scope("undo")
    put(stack, "undo", entity("2"))
    with Load(stack, "undo") as load:
        assert told(stack, "rollback", "undo")["config"]["config_version"] == 3
        assert version_of(stack, "undo") == "1"
        assert told(stack, "rollback", "undo")["config"]["config_version"] == 4
        assert version_of(stack, "undo") == "2"
        assert told(stack, "rollback", "undo", "1")["config"]["config_version"] == 5
    assert load.outcomes.failed == {}
    versions = {v["config_version"]: v for v in told(stack, "history", "undo")}
    assert [versions[n]["reason"] for n in (3, 4, 5)] == [f"Rollback to version {n}." for n in (1, 2, 1)]
    assert told(stack, "diff", "undo", "1", "5")["changes"] == [], "with the secret as it was sealed then"
    assert "canary-undo" not in json.dumps(versions)


def test_p3_9_what_cannot_come_back_says_why_and_changes_nothing(stack: Stack, create: Create) -> None:
    first = register_echo("gone", name="short-lived")
    create("stuck", {"entity_name": "short-lived", "entity_version": first, "name": "e"})
    path = f"{MANAGEMENT}/stuck/config:rollback"
    refused(stack.call("POST", path, {}), 404, "RESOURCE_DOES_NOT_EXIST", "no config that differs has served")
    refused(stack.call("POST", path, {"config_version": 7}), 404, "RESOURCE_DOES_NOT_EXIST", "got 7")
    refused(stack.call("POST", path, {"config_version": "1"}), 400, "INVALID_PARAMETER_VALUE", "config_version")
    put(stack, "stuck", entity("1", "e"))
    mlflow.MlflowClient().delete_model_version("short-lived", first)
    answer = stack.call("POST", path, {})
    refused(answer, 404, "RESOURCE_DOES_NOT_EXIST", "config_version 1", "'short-lived' has no version 1")
    result = penstock("endpoints", "rollback", "stuck", home=stack.home)
    assert (result.returncode, "short-lived" in result.stderr) == (4, True)
    assert stack.call("PUT", f"{MANAGEMENT}/stuck/config", {"served_entities": [entity("2", "e")]}).status_code == 200
    meanwhile = stack.call("POST", path, {"config_version": 2})
    if meanwhile.status_code != 200:  # the update may have ended already
        refused(meanwhile, 409, "RESOURCE_CONFLICT", "being updated")
    stack.wait("stuck")
    for query in ("history?limit=0", "events?limit=1001", "history?limit=x", "history/diff?from=x"):
        refused(stack.call("GET", f"{MANAGEMENT}/stuck/{query}"), 400, "INVALID_PARAMETER_VALUE")
    refused(stack.call("GET", f"{MANAGEMENT}/nope/history"), 404, "RESOURCE_DOES_NOT_EXIST", "nope")


def test_p3_9_history_is_whole_after_the_control_plane_was_killed_again_and_again(stack: Stack, create: Create) -> None:
    """And an endpoint that is made anew under the same name begins anew."""
    create("kept", entity("1"))
    for version in ("2", "1"):
        (process,) = stack.ps("control-plane")
        answer = stack.call("PUT", f"{MANAGEMENT}/kept/config", {"served_entities": [entity(version)]})
        assert answer.status_code == 200, answer.text
        os.kill(process["pid"], signal.SIGKILL)
        wait_for(lambda: stack.call("GET", f"{MANAGEMENT}/kept").status_code == 200, "the control plane")
        stack.wait_ready("kept")
    versions = told(stack, "history", "kept")
    assert [(v["config_version"], v["outcome"]) for v in versions] == [(n, "COMPLETED") for n in (3, 2, 1)]
    completed = [e["config_version"] for e in told(stack, "events", "kept") if e["kind"] == "UPDATE_COMPLETED"]
    assert completed == [3, 2, 1]
    assert stack.call("DELETE", f"{MANAGEMENT}/kept").status_code == 200
    create("kept", entity("1"))
    assert [v["config_version"] for v in told(stack, "history", "kept")] == [1]
    assert told(stack, "events", "kept")[-1]["kind"] == "CREATED"
    assert MODEL in told(stack, "history", "kept")[0]["config"]["served_entities"][0]["entity_name"]
