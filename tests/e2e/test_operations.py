"""Operations: probes and draining, backup and restore while running, a plain user, upgrades, and what is cleaned up."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from penstock.stores import database
from support.load import Load
from support.stack import (
    MANAGEMENT,
    ROW,
    Stack,
    entity,
    penstock,
    register_echo,
    split,
    start_stack,
    use_registry,
    wait_for,
)

NOBODY = 65534
CONTAINERFILE = Path(__file__).parents[2] / "deploy/Containerfile"
PERMISSIONS = "/api/2.0/permissions/serving-endpoints"
VARIABLE = {"KEY": "{{secrets/ops/key}}"}
GROWING = "growing"


def plain_user() -> int | None:
    """A user without rights of its own, if we may become one and it can run Penstock; else we stay who we are."""
    if os.geteuid() != 0:
        return None
    try:
        subprocess.run([sys.executable, "-c", "import penstock.cli.main"], user=NOBODY, group=NOBODY, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return NOBODY


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-operations-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def saved(stack: Stack, place: Path) -> dict[str, Any]:
    """A backup of the shared stack, made under load and while models are registered; and what it must hold."""
    workspace = stack.workspace()
    workspace.secrets.create_scope("ops")
    workspace.secrets.put_secret("ops", "key", string_value="canary-of-a-backup")
    served = [entity("2", "kept", environment_vars=VARIABLE), entity("1", "old")]
    config = {"served_entities": served, "traffic_config": split(kept=100, old=0)}
    assert stack.call("POST", MANAGEMENT, {"name": "kept", "config": config}).status_code == 200
    endpoint = stack.wait_ready("kept")
    grants = {"access_control_list": [{"user_name": "ann", "permission_level": "CAN_QUERY"}]}
    stack.call("PATCH", f"{PERMISSIONS}/{endpoint['id']}", grants)
    token = json.loads(penstock("tokens", "create", "--user", "ann", "--json", home=stack.home).stdout)["token"]

    registered: list[str] = []
    is_over = threading.Event()

    def register() -> None:
        while not is_over.is_set():
            registered.append(register_echo("1", GROWING))

    registering = threading.Thread(target=register)
    with Load(stack, "kept", workers=4) as load:
        registering.start()
        wait_for(lambda: registered, "a first version")
        result = penstock("backup", str(place / "saved.tar.gz"), "--json", home=stack.home)
        count = len(registered)
        wait_for(lambda: len(registered) > count, "a version that is registered after the backup")
        is_over.set()
        registering.join()
    assert result.returncode == 0, result.stderr
    assert load.outcomes.failed == {}
    assert load.outcomes.sent > 50
    yield {"file": place / "saved.tar.gz", "told": json.loads(result.stdout), "token": token, "endpoint": endpoint}
    stack.call("DELETE", f"{MANAGEMENT}/kept")
    workspace.secrets.delete_scope("ops")


@pytest.fixture(scope="module")
def home(saved: dict[str, Any], place: Path) -> Path:
    """What is made of the backup."""
    folder = place / "elsewhere" / "home"
    result = penstock("restore", str(saved["file"]), home=folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def restored(home: Path) -> Iterator[Stack]:
    """A stack on the restored home, run by a plain user if that can be; the tests that stop it come last."""
    user = plain_user()
    if user is not None:
        for path in (home.parent, home, *home.rglob("*")):
            os.chown(path, user, user)
    running = start_stack(home, user=user, env={"HOME": str(home.parent)})
    yield running
    if running.process.poll() is None:
        running.stop()


def test_p3_12_a_backup_under_load_comes_up_elsewhere_with_everything(
    stack: Stack, saved: dict[str, Any], home: Path, restored: Stack, place: Path
) -> None:
    assert saved["file"].stat().st_mode & 0o777 == 0o600
    assert [path.name for path in place.iterdir() if "partial" in path.name] == []
    assert saved["told"]["has_key"]
    assert restored.token == stack.token
    assert stat_mode(home / "secrets.key") == stat_mode(home / "penstock.db") == stat_mode(home / "token") == 0o600
    owner = plain_user()
    if owner is not None:
        assert {Path(f"/proc/{p['pid']}").stat().st_uid for p in restored.ps() if p["pid"]} == {owner}

    was = saved["endpoint"]
    now = restored.wait_ready("kept")
    for same in ("id", "creator", "creation_timestamp"):
        assert now[same] == was[same]
    assert now["config"]["config_version"] == was["config"]["config_version"]
    assert [e["entity_version"] for e in now["config"]["served_entities"]] == ["2", "1"]
    for name in ("kept", "old"):
        answer = restored.ask("kept", {"dataframe_records": [{**ROW, "s": "env"}]}, entity=name)
        assert answer.json()["predictions"][0]["env"].get("KEY") == ("canary-of-a-backup" if name == "kept" else None)
    by_ann = restored.ask("kept", headers={"Authorization": f"Bearer {saved['token']}"})
    assert (by_ann.status_code, by_ann.json()["predictions"][0]["version"]) == (200, "2")

    # Every version that the restored registry knows has its files.
    use_registry(restored)
    try:
        versions = mlflow.MlflowClient().search_model_versions(f"name = '{GROWING}'")
        assert versions
        for version in versions:
            folder = Path(mlflow.artifacts.download_artifacts(f"models:/{GROWING}/{version.version}"))
            assert (folder / "MLmodel").exists()
            assert (folder / "echo_model.py").exists()
    finally:
        use_registry(stack)

    # Nothing is put over what is there, and nothing half is left.
    for arguments, code, fragment in (
        (("backup", str(saved["file"])), 5, "exists already"),
        (("backup", str(place / "saved.zip")), 2, ".tar.gz"),
        (("backup", str(home / "in.tar.gz")), 2, "lies in the home folder"),
        (("backup", str(place / "none" / "b.tar.gz")), 1, "No such file"),
        (("restore", str(saved["file"])), 5, "A stack runs on"),
        (("restore", str(place / "none.tar.gz")), 4, "there is no file"),
    ):
        refused = penstock(*arguments, home=home)
        assert (refused.returncode, fragment in refused.stderr) == (code, True), refused.stderr
    whole = saved["file"].read_bytes()
    damaged = place / "damaged.tar.gz"
    for length in (len(whole) // 2, len(whole) - 4):
        damaged.write_bytes(whole[:length])
        refused = penstock("restore", str(damaged), home=place / "new")
        assert refused.returncode == 1, refused.stderr
        assert "damaged" in refused.stderr
        assert [path.name for path in (place / "new").iterdir()] == ["run"]
    (place / "new" / "mine").touch()
    assert "is not empty: it holds mine" in penstock("restore", str(saved["file"]), home=place / "new").stderr
    assert penstock("backup", str(place / "x.tar"), home=place / "new").returncode == 4


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_p3_12_what_nobody_needs_goes_and_what_is_needed_stays(home: Path, restored: Stack) -> None:
    restored.wait_ready("kept")
    assert restored.ask("kept", entity="old").status_code == 200
    artifacts, logs = home / "artifacts", home / "logs"
    needed = {path.name for path in artifacts.iterdir() if not path.name.endswith(".partial")}
    assert len(needed) >= 2
    long_ago = time.time() - 2 * 86400
    current = {path.relative_to(logs) for path in logs.glob("kept/*/*.log")}
    made = [artifacts / "unneeded" / "MLmodel", artifacts / "lately" / "MLmodel", artifacts / "k.1.partial" / "x"]
    made += [logs / f"kept/former-{n}/{n:016x}-0.build.log" for n in range(12)]
    made += [logs / f"gone/m-1/{1:016x}-0.service.log.1"]
    for path in made:
        path.parent.mkdir(parents=True)
        path.touch()
    for path in (*(each.parent for each in made), *made, *(artifacts / name for name in needed)):
        if path.parent.name != "lately" and path.name != "lately":
            number = int(path.name[:16], 16) if path.name.endswith("build.log") else 0
            os.utime(path, (long_ago - number, long_ago - number))
    for path in (artifacts, logs):
        for inner in path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                shutil.chown(inner, home.stat().st_uid, home.stat().st_gid)

    with Load(restored, "kept", workers=2) as load:
        (old,) = restored.ps("control-plane")
        os.kill(old["pid"], signal.SIGKILL)
        wait_for(lambda: not (artifacts / "unneeded").exists(), "the unneeded model to go")
        wait_for(lambda: not (logs / "gone").exists(), "the logs of an endpoint that is gone to go")
    assert load.outcomes.failed == {}
    wait_for(lambda: {path.name for path in artifacts.iterdir()} == {*needed, "lately"}, "only what stays to be there")
    wait_for(lambda: set(logs.glob("kept/former-*/*")) == set(made[3:13]), "the ten that wrote last to be left")
    assert {path.relative_to(logs) for path in logs.glob("kept/*/*.log")} >= current
    wait_for(lambda: not (logs / "kept" / "former-11").exists(), "no empty folder to be left")


def test_p3_12_health_is_that_of_the_gateway_and_a_stop_answers_what_was_begun(restored: Stack) -> None:
    restored.wait_ready("kept")
    health = f"{restored.url}/health"
    assert container_health(restored) == 0
    (control_plane,) = restored.ps("control-plane")
    os.kill(control_plane["pid"], signal.SIGSTOP)
    try:
        answer = requests.get(health, timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})
        assert restored.ask("kept").status_code == 200
    finally:
        os.kill(control_plane["pid"], signal.SIGCONT)

    begun = http.client.HTTPConnection(restored.url.removeprefix("http://"), timeout=60)
    body = json.dumps({"dataframe_records": [{**ROW, "s": "sleep:3"}]})
    begun.request("POST", "/serving-endpoints/kept/invocations", body, restored.headers)
    assert requests.get(health, timeout=10).status_code == 200, "once it has answered this, it has read that"
    restored.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_refused(health), "new connections to be refused")
    assert restored.process.poll() is None, "it waits for what was begun"
    answer = begun.getresponse()
    assert (answer.status, json.loads(answer.read())["predictions"][0]["s"]) == (200, "sleep:3")
    assert restored.process.wait(60) == 0
    assert container_health(restored) != 0


def container_health(stack: Stack) -> int:
    """The exit code of the container's health check."""
    (check,) = re.findall(r"^HEALTHCHECK .*\n\s+CMD (\[.*\])$", CONTAINERFILE.read_text(), re.MULTILINE)
    program, *arguments = json.loads(check)
    assert program == "python"
    environment = {**os.environ, "PENSTOCK_HOME": str(stack.home)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, timeout=30).returncode


def is_refused(url: str) -> bool:
    try:
        requests.get(url, timeout=10)
    except requests.ConnectionError as exc:
        return "Connection refused" in str(exc)
    return False


def test_p3_12_state_of_the_first_release_comes_up_and_serves(
    stack: Stack, saved: dict[str, Any], home: Path, restored: Stack
) -> None:
    """The database as Alembic's first revision makes it, with documents and a routing table of that time."""
    if restored.process.poll() is None:
        restored.stop()
    served = stored_document(home, "kept")["active"]["entities"][0]
    model = {key: served["model"][key] for key in ("name", "version", "created_at_ms")}
    old = {
        "id": "0" * 31 + "1",
        "name": "veteran",
        "creator": "admin",
        "created_at_ms": 1700000000000,
        "updated_at_ms": 1700000000001,
        "tags": {"since": "0.1"},
        "active": {
            "version": 3,
            "entities": [
                {
                    "id": "2" * 32,
                    "name": "m-2",
                    "model": model,
                    "sizing": {"size": "Small", "workload_type": "CPU", "scale_to_zero": False},
                    "environment": {"MODE": "old"},
                    "alias": "challenger",
                    "creator": "admin",
                    "created_at_ms": 1700000000000,
                }
            ],
            "routes": [{"entity_name": "m-2", "percentage": 100}],
            "started_at_ms": 1700000000000,
        },
        "update": "NOT_UPDATING",
        "last_version": 3,
    }
    with contextlib.closing(sqlite3.connect(home / "penstock.db")) as now:
        tokens = now.execute("SELECT id, principal, digest, comment, created_at_ms FROM tokens").fetchall()
    for name in ("penstock.db", "penstock.db-wal", "penstock.db-shm", "secrets.key"):
        (home / name).unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{home / 'penstock.db'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with contextlib.closing(sqlite3.connect(home / "penstock.db")) as raw, raw:
        raw.execute("INSERT INTO endpoints VALUES (?, ?, ?, ?)", (old["id"], "veteran", 1, json.dumps(old)))
        raw.executemany("INSERT INTO tokens VALUES (?, ?, ?, ?, ?)", tokens)
    routed = {
        "id": old["id"],
        "name": "veteran",
        "config_version": 3,
        "entities": [
            {
                "name": "m-2",
                "id": "2" * 32,
                "deployment": "d" * 16,
                "slots": ["d" * 16 + "-0"],
                "percentage": 100,
                "timeout_s": 297.0,
                "queue_size": 1000,
            }
        ],
        "reason": "",
    }
    table = {"version": 41, "endpoints": {"veteran": routed}, "access": {}}
    (home / "run" / "routing-table.json").write_text(json.dumps(table))

    running = start_stack(home)
    try:
        assert running.token == stack.token, "tokens of then open it now"
        document = running.wait_ready("veteran")
        assert document["config"]["config_version"] == 3
        assert document["tags"] == [{"key": "since", "value": "0.1"}]
        answer = running.ask("veteran", {"dataframe_records": [{**ROW, "s": "env"}]})
        assert answer.json()["predictions"][0]["env"]["MODE"] == "old"
        body = {"served_entities": [entity("1")]}
        assert running.call("PUT", f"{MANAGEMENT}/veteran/config", body).status_code == 200
        assert running.wait_ready("veteran")["config"]["config_version"] == 4
        assert running.ask("veteran").json()["predictions"][0]["version"] == "1"
        by_ann = {"Authorization": f"Bearer {saved['token']}"}
        assert running.ask("veteran", headers=by_ann).status_code == 403
    finally:
        running.stop()


def stored_document(home: Path, name: str) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(home / "penstock.db")) as connection:
        (text,) = connection.execute("SELECT document FROM endpoints WHERE name = ?", (name,)).fetchone()
    document: dict[str, Any] = json.loads(text)
    return document
