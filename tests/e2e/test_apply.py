"""Endpoints as files declare them: planned, applied, exported, and nothing done twice."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from support.stack import BROKEN, MANAGEMENT, MODEL, Stack, penstock

DECLARED = """
endpoints:
- name: applied-split
  description: two versions, side by side
  config:
    served_entities: &entities
    - {name: now, entity_name: m, entity_version: "@champion", workload_size: Small}
    - {name: next, entity_name: m, entity_version: 2, scale_to_zero_enabled: false,
       environment_vars: {MODE: strict, OPENAI_API_KEY: "{{secrets/applied/key}}"}}
    traffic_config:
      routes:
      - {served_entity_name: next, traffic_percentage: 10}
      - {served_entity_name: now, traffic_percentage: 90}
  tags: [{key: team, value: risk}, {key: plain}]
  rate_limits: [{calls: 100}]
  ai_gateway:
    usage_tracking_config: {enabled: true}
    rate_limits: [{calls: 10, renewal_period: minute}]
    inference_table_config: {enabled: true, catalog_name: main, schema_name: default}
  email_notifications: {on_update_failure: [ops@example.com]}
  permissions:
  - {user_name: admin, permission_level: CAN_MANAGE}
  - {group_name: analysts, permission_level: CAN_QUERY}
---
name: applied-plain
served_entities: [{entity_name: m, entity_version: "1"}]
"""
EMPTY = """
{"endpoints": [
\t{"name": "applied-empty", "tags": [{"key": "emoji", "value": "\\ud83d\\ude00"}]}
]}
"""


def run(stack: Stack, *arguments: str, stdin: str | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    result = penstock(*arguments, home=stack.home, stdin=stdin)
    assert result.returncode == code, result.stdout + result.stderr
    return result


def told(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What `apply --json` printed, by endpoint."""
    return {each["name"]: each for each in json.loads(result.stdout)["endpoints"]}


@pytest.fixture
def folder(stack: Stack, tmp_path: Path, fresh: Callable[[str], str]) -> Iterator[Path]:
    for name in ("applied-split", "applied-plain", "applied-empty"):
        fresh(name)
    (tmp_path / "a.yaml").write_text(DECLARED)
    (tmp_path / "b.json").write_text(EMPTY)
    run(stack, "secrets", "scopes", "--create", "applied")
    run(stack, "secrets", "put", "applied", "key", "--value", "sk-very-secret")
    yield tmp_path
    run(stack, "secrets", "scopes", "--delete", "applied")


def test_p3_11_what_files_declare_is_planned_applied_exported_and_not_done_twice(stack: Stack, folder: Path) -> None:
    bystanders = stack.call("GET", MANAGEMENT).json()["endpoints"]

    planned = run(stack, "apply", "-f", str(folder), "--plan", code=2)
    assert "3 to create, 0 to change, 0 as declared" in planned.stdout
    assert "{{secrets/applied/key}}" in planned.stdout
    assert "strict" not in planned.stdout, "variables may hold passwords"
    assert stack.get("applied-split")["error_code"] == "RESOURCE_DOES_NOT_EXIST", "a plan changes nothing"

    applied = told(run(stack, "apply", "-f", str(folder), "--json"))
    assert {name: each["result"] for name, each in applied.items()} == dict.fromkeys(applied, "created")
    document = stack.get("applied-split")
    assert document["state"]["ready"] == "READY", "apply waits"
    shares = {r["served_entity_name"]: r["traffic_percentage"] for r in document["config"]["traffic_config"]["routes"]}
    assert shares == {"now": 90, "next": 10}
    assert {tag["key"]: tag.get("value") for tag in document["tags"]} == {"team": "risk", "plain": None}
    assert stack.get("applied-empty")["tags"] == [{"key": "emoji", "value": "😀"}]
    permissions = stack.call("GET", f"/api/2.0/permissions/serving-endpoints/{document['id']}").json()
    assert {entry.get("user_name") or entry["group_name"] for entry in permissions["access_control_list"]} == {
        *("admin", "analysts", "admins")
    }
    assert stack.ask("applied-plain").json()["predictions"][0]["version"] == "1"

    # Again, and from what export prints: nothing is to be done, and no alias that stands still is a change.
    assert "0 to create, 0 to change, 3 as declared" in run(stack, "apply", "-f", str(folder)).stdout
    run(stack, "apply", "-f", str(folder), "--plan")
    for form in ((), ("--json",)):
        exported = run(stack, "export", *form).stdout
        assert "sk-very-secret" not in exported
        everything = run(stack, "apply", "-f", "-", "--plan", stdin=exported)
        assert f"{len(bystanders) + 3} as declared" in everything.stdout
    assert stack.get("applied-split")["config"]["config_version"] == 1
    assert "analysts" in run(stack, "export", "applied-split").stdout
    assert "no-such" in run(stack, "export", "no-such", code=4).stderr

    # The alias moves, a share changes, tags go, a section that is not mentioned stays.
    changed = DECLARED.replace("traffic_percentage: 10", "traffic_percentage: 40").replace(
        "traffic_percentage: 90", "traffic_percentage: 60"
    )
    changed = changed.replace("{key: team, value: risk}, {key: plain}", "{key: team, value: fraud}")
    changed = changed.replace("  rate_limits: [{calls: 100}]\n", "")
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(MODEL, "champion", "2")
    try:
        changes = told(run(stack, "apply", "-f", "-", "--plan", "--json", stdin=changed, code=2))["applied-split"]
        assert {each["field"]: (each["before"], each["after"]) for each in changes["changes"]} == {
            "config.served_entities.now.entity_version": ("1", "2"),
            "config.traffic_config.now": (90, 60),
            "config.traffic_config.next": (10, 40),
            "tags.team.value": ("risk", "fraud"),
            "tags.plain": ({}, None),
        }
        assert told(run(stack, "apply", "-f", "-", "--json", stdin=changed))["applied-split"]["result"] == "changed"
    finally:
        client.set_registered_model_alias(MODEL, "champion", "1")
    document = stack.get("applied-split")
    assert document["config"]["config_version"] == 2
    assert {e["name"]: e["entity_version"] for e in document["config"]["served_entities"]} == {"now": "2", "next": "2"}
    assert document["tags"] == [{"key": "team", "value": "fraud"}]
    assert document["rate_limits"] == [{"calls": 100, "key": "endpoint", "renewal_period": "minute"}]
    assert [e["name"] for e in stack.call("GET", MANAGEMENT).json()["endpoints"] if e in bystanders] == [
        e["name"] for e in bystanders
    ]


def test_p3_11_one_that_fails_does_not_keep_the_others_and_every_mistake_is_named(stack: Stack, folder: Path) -> None:
    declared = f"""
endpoints:
- name: applied-split
  served_entities: [{{entity_name: {BROKEN}, entity_version: "1"}}]
- name: applied-plain
  served_entities: [{{entity_name: {MODEL}, entity_version: "1"}}]
- {{name: applied-empty, served_entities: [{{entity_name: none, entity_version: "1"}}]}}
"""
    outcomes = told(run(stack, "apply", "-f", "-", "--json", stdin=declared, code=1))
    assert {name: each["result"] for name, each in outcomes.items()} == {
        "applied-split": "failed",
        "applied-plain": "created",
        "applied-empty": "failed",
    }
    assert "weights.bin" in outcomes["applied-split"]["message"]
    assert "none" in outcomes["applied-empty"]["message"]
    assert outcomes["applied-empty"]["message"].startswith("RESOURCE_DOES_NOT_EXIST")

    # What cannot be changed is refused; what is being updated is a conflict. Exit code 5, and nothing else is touched.
    fixed = "name: applied-plain\nroute_optimized: true\ntags: [{key: a}]"
    refusal = run(stack, "apply", "-f", "-", stdin=fixed, code=5)
    assert "route_optimized cannot be changed" in refusal.stderr
    assert stack.get("applied-plain")["tags"] == []

    # Every mistake is named with its place, and nothing is sent.
    wrong = """\
endpoints:
- name: applied-plain
  tag: [{key: a}]
  served_entities:
  - {entity_name: m, entity_version: "1", workload_szie: Small, something_new: 1}
- name: applied-plain
- name: bad name
  tags: [{key: 1}]
- name: other
  served_entities: [{entity_name: m, entity_version: "1", environment_vars: {PASSWORD: 123456}}]
- name: third
  served_entities: [{entity_name: m, entity_version: latest}]
- 5
"""
    (folder / "wrong.yaml").write_text(wrong)
    (folder / "twice.yaml").write_text("name: x\ntags: []\nname: y\n")
    (folder / "cut.yaml").write_text("endpoints:\n- name: [unclosed\n")
    complaint = run(
        *(stack, "apply"),
        *(argument for name in ("wrong", "twice", "cut") for argument in ("-f", str(folder / f"{name}.yaml"))),
        code=2,
    ).stderr
    for place, fragment in {
        "wrong.yaml:3:3": "tag: there is no 'tag'; did you mean 'tags'?",
        "wrong.yaml:5:43": "served_entities[0].workload_szie: there is no 'workload_szie'; did you mean",
        "wrong.yaml:6:3": "name: 'applied-plain' is declared already at",
        "wrong.yaml:8:11": "tags[0].key",
        "wrong.yaml:10:78": "served_entities[0].environment_vars.PASSWORD",
        "wrong.yaml:12:38": "served_entities[0].entity_version: got 'latest'; wanted a version number",
        "wrong.yaml:13:3": "got a number; wanted an endpoint",
        "twice.yaml:3:1": "the key 'name' came already in line 1",
        "cut.yaml:3:1": "expected ',' or ']'",
    }.items():
        assert f"{folder}/{place}: {fragment}" in complaint
    assert "123456" not in complaint
    assert run(stack, "apply", "-f", str(folder / "none.yaml"), code=2).stderr.count("No such file") == 1
