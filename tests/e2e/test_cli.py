"""The command line: output, exit codes, and what a newcomer gets wrong."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from support.stack import MANAGEMENT, MODEL, QUERY, ROW, Stack, clean_environment, penstock, wait_for

Create = Callable[..., dict[str, Any]]


def run_json(stack: Stack, *arguments: str) -> Any:
    result = penstock(*arguments, "--json", home=stack.home)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_without_a_stack_commands_say_how_to_start_one(tmp_path: Path) -> None:
    for arguments in (["status"], ["ps"], ["env"], ["stop"], ["endpoints", "list"], ["tokens", "list"]):
        result = penstock(*arguments, home=tmp_path)
        assert result.returncode == 3, arguments
        assert "penstock up" in result.stderr
        assert result.stdout == ""


def test_a_taken_port_names_the_port_and_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = penstock("up", "--port", str(port), home=tmp_path)
    assert result.returncode == 1
    assert str(port) in result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "fragment"),
    [
        (["up", "--port", "70000"], {}, "65535"),
        (["up", "--gateways", "0"], {}, "greater than or equal to 1"),
        (["up", "--tracking-uri", "sqlite:///x"], {}, "sqlite:///x"),
        (["up"], {"PENSTOCK_PORT": "http"}, "PENSTOCK_PORT"),
        (["up"], {"PENSTOCK_QUEUE_SIZE": "-1"}, "PENSTOCK_QUEUE_SIZE"),
        (["up"], {"PENSTOCK_CORS_ORIGINS": "app.example.com"}, "PENSTOCK_CORS_ORIGINS"),
        (["nothing"], {}, "nothing"),
    ],
)
def test_usage_errors(tmp_path: Path, arguments: list[str], environment: dict[str, str], fragment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "penstock", *arguments],
        capture_output=True,
        text=True,
        env=clean_environment({"PENSTOCK_HOME": str(tmp_path), "COLUMNS": "200", **environment}),
        timeout=60,
    )
    assert result.returncode == 2
    assert fragment in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unusable_home_and_an_unusable_database(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = penstock("up", "--port", "0", home=tmp_path / "file" / "home")
    assert result.returncode == 1
    assert "home folder" in result.stderr
    home = tmp_path / "home"
    home.mkdir()
    (home / "penstock.db").write_text("no database at all, only text, and more than a page header of it " * 4)
    result = penstock("up", "--port", "0", home=home)
    assert result.returncode == 1
    assert "penstock.db" in result.stderr
    assert (home / "penstock.db").read_text().startswith("no database")


def test_the_token_file_is_private(stack: Stack) -> None:
    file = stack.home / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == stack.token
    assert stat.S_IMODE((stack.home / "run").stat().st_mode) == 0o700
    for path in stack.home.rglob("*"):
        if path.is_file() and path != file and path.suffix != ".sock":
            assert stack.token.encode() not in path.read_bytes(), path


def test_ps_lists_every_process(stack: Stack, live: str) -> None:
    processes = run_json(stack, "ps")
    keys = {"pid", "role", "endpoint", "entity", "config_version", "state", "rss_bytes", "started_at"}
    assert all(keys <= set(process) for process in processes)
    assert {"supervisor", "gateway", "control-plane", "mlflow", "replica"} <= {p["role"] for p in processes}
    replica = next(p for p in processes if p["endpoint"] == live)
    assert (replica["entity"], replica["config_version"], replica["state"]) == ("m-1", 1, "ready")
    assert replica["rss_bytes"] > 20 << 20
    answer = stack.call("GET", "/api/2.0/penstock/ps").json()["processes"]
    assert {p["pid"] for p in answer} == {p["pid"] for p in processes}


def test_status_version_and_doctor(stack: Stack, live: str) -> None:
    status = run_json(stack, "status")
    assert status["url"] == stack.url
    assert {"name": live, "creator": "admin", "ready": "READY"}.items() <= next(
        e for e in status["endpoints"] if e["name"] == live
    ).items()
    checks = run_json(stack, "doctor")
    assert {check["result"] for check in checks} <= {"ok", "warn"}
    assert next(c for c in checks if c["check"] == "stack")["result"] == "ok"
    result = subprocess.run([sys.executable, "-m", "penstock", "version"], capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("penstock 0.")


def test_env_lines_work_in_a_shell(stack: Stack) -> None:
    lines = penstock("env", home=stack.home).stdout
    script = (
        lines
        + 'printf "%s %s %s %s" "$DATABRICKS_HOST" "$DATABRICKS_TOKEN" "$MLFLOW_TRACKING_URI" "$MLFLOW_TRACKING_TOKEN"'
    )
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=10).stdout
    assert shown == f"{stack.url} {stack.token} {stack.url} {stack.token}"


def test_an_endpoint_from_create_to_delete(stack: Stack) -> None:
    created = run_json(
        stack, "endpoints", "create", "cli", "--model", f"{MODEL}@champion=90", "--model", f"{MODEL}/2=10"
    )
    assert created["state"]["ready"] == "READY"
    shares = {r["served_entity_name"]: r["traffic_percentage"] for r in created["config"]["traffic_config"]["routes"]}
    assert shares == {"m-champion": 90, "m-2": 10}
    assert "cli" in [e["name"] for e in run_json(stack, "endpoints", "list")]
    assert run_json(stack, "endpoints", "get", "cli")["id"] == created["id"]

    body = json.dumps({"dataframe_records": [ROW]})
    asked = penstock("endpoints", "query", "cli", "--data", body, "--entity", "m-2", home=stack.home)
    assert json.loads(asked.stdout)["predictions"][0]["version"] == "2"
    piped = penstock("endpoints", "query", "cli", "--data", "@-", home=stack.home, stdin=body)
    assert json.loads(piped.stdout)["predictions"][0]["x"] == 1.5

    config = json.dumps({"served_entities": [{"entity_name": MODEL, "entity_version": "2"}]})
    updated = penstock("endpoints", "update", "cli", "--config", "-", "--json", home=stack.home, stdin=config)
    assert json.loads(updated.stdout)["config"]["config_version"] == 2
    assert "echo 2 is loaded" in run_json(stack, "endpoints", "logs", "cli", "--build")["logs"]
    assert run_json(stack, "endpoints", "stop", "cli")["state"]["suspend"] == "STOPPED"
    assert run_json(stack, "endpoints", "start", "cli")["config"]["config_version"] == 3
    assert run_json(stack, "endpoints", "delete", "cli") == {"deleted": "cli"}
    assert penstock("endpoints", "get", "cli", home=stack.home).returncode == 4


def test_refusals_have_their_exit_codes(stack: Stack, live: str) -> None:
    assert penstock("endpoints", "create", live, "--model", f"{MODEL}/1", home=stack.home).returncode == 5
    assert penstock("endpoints", "query", live, "--data", "{}", home=stack.home).returncode == 5
    assert penstock("endpoints", "query", live, "--data", "@/no/such/file", home=stack.home).returncode == 2
    assert penstock("endpoints", "create", "x", "--model", "nonsense", home=stack.home).returncode == 2
    assert penstock("endpoints", "update", live, home=stack.home).returncode == 2
    failed = penstock("endpoints", "create", "cli-broken", "--model", "broken/1", home=stack.home)
    assert failed.returncode == 1
    assert "the weights are missing" in failed.stderr
    assert penstock("endpoints", "delete", "cli-broken", home=stack.home).returncode == 0


def test_models_list(stack: Stack) -> None:
    models = {model["name"]: model for model in run_json(stack, "models", "list")}
    assert models[MODEL] == {"name": MODEL, "latest_version": 2, "aliases": {"champion": "1", "challenger": "2"}}


def test_tokens_from_create_to_revoke(stack: Stack, live: str) -> None:
    created = run_json(stack, "tokens", "create", "--user", "ann@example.com", "--comment", "for the tests")
    headers = {"Authorization": f"Bearer {created['token']}"}
    management, query = f"{stack.url}{MANAGEMENT}", f"{stack.url}{QUERY}/{live}/invocations"
    assert requests.get(management, headers=headers, timeout=30).status_code == 200
    made = requests.post(management, json={"name": "anns"}, headers=headers, timeout=30)
    assert made.json()["creator"] == "ann@example.com"
    stack.call("DELETE", "/api/2.0/serving-endpoints/anns")
    listed = next(t for t in run_json(stack, "tokens", "list") if t["id"] == created["id"])
    assert listed["user"] == "ann@example.com"
    assert "token" not in listed
    run_json(stack, "tokens", "revoke", created["id"])
    assert requests.get(management, headers=headers, timeout=30).status_code == 401
    assert requests.post(query, json={"dataframe_records": [ROW]}, headers=headers, timeout=30).status_code == 401
    assert penstock("tokens", "revoke", created["id"], home=stack.home).returncode == 4
    assert penstock("tokens", "create", "--user", " ", home=stack.home).returncode == 5


def test_a_principal_cannot_be_claimed_by_header(stack: Stack) -> None:
    headers = {"x-penstock-principal": "somebody-else"}
    try:
        document = stack.call("POST", "/api/2.0/serving-endpoints", {"name": "claimed"}, headers=headers).json()
        assert document["creator"] == "admin"
    finally:
        stack.call("DELETE", "/api/2.0/serving-endpoints/claimed")


def test_logs_of_processes_are_json_lines(stack: Stack, live: str) -> None:
    folder = stack.home / "logs" / ".system"
    lines = wait_for(lambda: (folder / "control-plane.log").read_text().splitlines(), "a log line")
    record = json.loads(lines[-1])
    assert {"time", "level", "logger", "message", "pid"} <= set(record)


def test_up_warns_beyond_loopback_and_prints_a_link_that_logs_in(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "up", "--host", "0.0.0.0", "--port", "0", "--home", str(tmp_path / "h")],
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stderr is not None
    seen = ""
    while "login?code=" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    assert "Ready." in seen
    link = seen.split("login    ")[1].strip()
    assert requests.get(link, allow_redirects=False, timeout=30).status_code == 303
    process.terminate()
    process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert "Warning" in seen
    assert "without TLS" in seen
    assert not (tmp_path / "h" / "run" / "penstock.json").exists()
